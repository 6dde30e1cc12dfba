"""How a connection is encrypted and verified: decided from the address, the setting and what this machine trusts.

libpq's own default (`prefer`) neither insists on encryption nor looks at who answers. Here a remote host is always
encrypted, and verified when anything is known that vouches for it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autopilot.errors import Refused, UsageError
from autopilot.postgres.address import endpoints, is_supabase, shown

Verify = Literal["auto", "required"]
Place = Literal["local", "private", "remote"]
Fault = Literal["untrusted", "name"]

#: Files rather than libpq's `sslrootcert=system`: that is an empty store in psycopg's wheel (its OpenSSL looks into
#: /usr/lib/psycopg-openssl), and a file name to clients older than 16.
_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
    "/usr/local/etc/ca-certificates/cert.pem",
)
_SYSTEM = "system"
_FIRST_WITH_SYSTEM = 160000
_PRIVATE = tuple(ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What this machine can check a server's certificate with."""

    #: A CA that somebody named for PostgreSQL.
    ca_file: str | None = None
    #: The system's bundle of public CAs, or "system" where only libpq may know it.
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How to connect."""

    #: libpq parameters that stand over the address's own; nothing secret.
    changes: Mapping[str, str] = field(default_factory=dict)
    #: What a person should know about such a connection.
    warning: str | None = None
    #: How to connect when the certificate cannot be verified for one of `excused`; encrypted as well.
    otherwise: Decision | None = None
    excused: frozenset[Fault] = frozenset()


def trust(
    ca_file: Path | None = None,
    *,
    libpq: int,
    variables: Mapping[str, str] = os.environ,
    there: Callable[[str], bool] = os.path.isfile,
) -> Trust:
    """`ca_file` is the configured one; after it ~/.postgresql/root.crt, which is libpq's own default."""
    usual = f"{variables['HOME']}/.postgresql/root.crt" if variables.get("HOME") else ""
    named = str(ca_file) if ca_file is not None else usual if usual and there(usual) else None
    candidates = (variables.get("SSL_CERT_FILE", ""), *_STORES)
    last = _SYSTEM if libpq >= _FIRST_WITH_SYSTEM else None
    return Trust(ca_file=named, store=next((path for path in candidates if path and there(path)), last))


def decide(params: Mapping[str, str], *, verify: Verify, trusted: Trust, keep_require: bool = False) -> Decision:
    """How to reach the host of `params`.

    keep_require: an explicit `sslmode=require` was decided before and is not tried with verification again.
    Raises UsageError (`tls_required`) and Refused (`tls_not_verified`).
    """
    where, mode = place(params), params.get("sslmode", "")
    if where == "local":
        return Decision()
    if mode in {"disable", "allow", "prefer"}:
        return _plain(params, mode, verify=verify, where=where)
    if mode not in {"", "require", "verify-ca", "verify-full"}:
        return Decision()  # libpq refuses it
    return _encrypted(params, mode, verify=verify, trusted=trusted, keep_require=keep_require)


def _encrypted(params: Mapping[str, str], mode: str, *, verify: Verify, trusted: Trust, keep_require: bool) -> Decision:
    own = params.get("sslrootcert", "")
    known = own if own not in {"", _SYSTEM} else trusted.ca_file if own == "" else None
    if mode == "verify-ca":
        return Decision() if own or known is None else Decision(changes={"sslrootcert": known})
    if known is not None:
        return Decision(changes={"sslmode": "verify-full", "sslrootcert": known})
    if mode == "require" and keep_require and not own:
        return Decision()
    asked = mode == "verify-full" or own == _SYSTEM or verify == "required"
    return _by_store(params, trusted.store, asked=asked, lenient=mode == "require")


def _by_store(params: Mapping[str, str], store: str | None, *, asked: bool, lenient: bool) -> Decision:
    """Verified with the system's CAs; unless that was `asked` for, encrypted alone is the other way."""
    unverified = Decision(changes={"sslmode": "require"}, warning=unverified_warning(params))
    if store is None:
        if asked:
            raise not_verified(params, "untrusted", "No file of CAs was found on this machine.")
        return unverified
    changes = {"sslmode": "verify-full", "sslrootcert": store}
    if asked:
        return Decision(changes=changes)
    excused: tuple[Fault, ...] = ("untrusted", "name") if lenient else ("untrusted",)
    return Decision(changes=changes, otherwise=unverified, excused=frozenset(excused))


def _plain(params: Mapping[str, str], mode: str, *, verify: Verify, where: Place) -> Decision:
    """An address that does without encryption, or might."""
    if where == "private" and mode == "disable" and verify == "auto":
        return Decision(
            warning=f"The connection to {shown(params)} is not encrypted (sslmode=disable): who is on that network can read it."
        )
    hint = "Write sslmode=require in the database URL, or sslrootcert=FILE (the CA's certificate) to have the server verified."
    if where == "private" and verify == "auto":
        hint += " In a private network that you trust, sslmode=disable does without."
    raise UsageError(
        f"The address {shown(params)} is on a network, and sslmode={mode} lets everything go over it unencrypted.",
        code="tls_required",
        hint=hint,
    )


def place(params: Mapping[str, str]) -> Place:
    """Where the server is. Every host that is named counts, by name and by address (a tunnel's end is not the server)."""
    if "service" in params and not params.get("host") and not params.get("hostaddr"):
        return "remote"  # what the service file says, only libpq knows
    names = [name for key in ("host", "hostaddr") if params.get(key) for name in params[key].split(",")]
    found = {_place(name) for name in names}
    return "remote" if "remote" in found else "private" if "private" in found else "local"


def _place(host: str) -> Place:
    name = host.strip().lower().removesuffix(".")
    if name in {"", "localhost"} or name.startswith(("/", "@")):
        return "local"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return "private" if _LABEL.fullmatch(name) or name.endswith(".internal") else "remote"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "local"
    return "private" if any(address in network for network in _PRIVATE) else "remote"


def fault(reason: str) -> Fault | None:
    """What libpq found wrong with a certificate; None when the failure is another one."""
    low = reason.lower()
    if "fatal:" in low:
        return None  # one of several addresses came so far as to answer
    # Expired, self-signed and signed by a stranger are all told in these same words.
    if "certificate verify failed" in low:
        return "untrusted"
    return "name" if "does not match host name" in low or "host name must be specified for a verified" in low else None


def unverified_warning(params: Mapping[str, str]) -> str:
    return (
        f"The connection to {shown(params)} is encrypted, but nothing proves that it is that server:"
        f" no CA known here vouches for its certificate. {_advice(params)}"
    )


def not_verified(params: Mapping[str, str], what: Fault, words: str) -> Refused:
    """A certificate that does not prove whose the server is."""
    address = shown(params)
    if what == "name":
        return Refused(
            f"The server at {address} shows a certificate of another name. {words}",
            code="tls_not_verified",
            hint="Connect by a name that is in the certificate; with a CA of your own (sslrootcert), sslmode=verify-ca"
            " does not look at the name.",
        )
    return Refused(
        f"The server at {address} is not verified: its certificate has expired, or is signed by nobody whom"
        f" {params.get('sslrootcert') or 'this machine'} vouches for. {words}",
        code="tls_not_verified",
        hint=_advice(params),
    )


def _advice(params: Mapping[str, str]) -> str:
    if any(is_supabase(host) for host, _ in endpoints(params)):
        return (
            "Supabase signs with a CA of its own: download it (Project Settings → Database → SSL Configuration →"
            " Download certificate), then add sslrootcert=prod-ca-2021.crt to the database URL."
        )
    return "Add sslrootcert=FILE, the certificate of the server's CA, to the database URL."
