"""What a run would do, from files and history alone."""

from __future__ import annotations

import pytest

from autopilot.migrations.files import MigrationFile
from autopilot.migrations.history import History, LedgerRow
from autopilot.migrations.plan import Plan, Policy, by_number, plan


def here(name: str, *, normalized: str = "n", sha256: str = "s") -> MigrationFile:
    version, rest = name.split("_", 1)
    return MigrationFile(version=version, name=rest, file=f"{name}.sql", text="", sha256=sha256, normalized_sha256=normalized)


def row(name: str, *, normalized: str = "n", sha256: str = "s") -> LedgerRow:
    version, rest = name.split("_", 1)
    return LedgerRow(
        version=version, name=rest, file=f"{name}.sql", sha256=sha256, normalized_sha256=normalized,
        statements=1,
    )  # fmt: skip


def history(*rows: LedgerRow, supabase: tuple[str, ...] = (), begun: tuple[str, ...] = ()) -> History:
    return History(ledger={r.version: r for r in rows}, supabase=frozenset(supabase), begun=frozenset(begun))


def pending(found: Plan) -> list[str]:
    return [f.version for f in found.pending]


def drift(found: Plan) -> list[tuple[str, str]]:
    return [(d.kind, d.version) for d in found.drift]


def codes(found: Plan) -> list[str]:
    return [r.code for r in found.refusals]


@pytest.mark.parametrize(
    ("files", "past", "expected"),
    [
        ((), history(), []),
        (("1_a", "2_b"), history(), ["1", "2"]),
        (("1_a", "2_b"), history(row("1_a")), ["2"]),
        (("1_a", "2_b"), history(supabase=("1",)), ["2"]),
        (("1_a", "2_b"), history(row("1_a"), supabase=("1", "2")), []),
        (("10_b", "1_a"), history(), ["10", "1"]),
        (("1_a",), history(begun=("1",)), ["1"]),
    ],
)
def test_what_neither_ledger_lists_is_pending_in_file_order(files: tuple[str, ...], past: History, expected: list[str]) -> None:
    found = plan(tuple(here(f) for f in files), past, Policy())
    assert pending(found) == expected
    assert (found.refusals, found.drift) == ((), ())


def test_applied_versions_are_listed_by_number() -> None:
    past = history(row("10_b"), row("9_a"), supabase=("9", "2"))
    assert plan((), past, Policy()).applied == ("2", "9", "10")


def test_an_edited_file_is_drift_and_a_refusal_that_names_it() -> None:
    found = plan((here("1_a", normalized="new"), here("2_b")), history(row("1_a")), Policy())
    assert drift(found) == [("edited", "1")]
    (refusal,) = found.refusals
    assert (refusal.code, refusal.file) == ("edited_after_applied", "1_a.sql")
    assert "--accept-edited 1" in refusal.hint
    assert pending(found) == ["2"]
    assert found.accepted == ()


def test_other_line_ends_are_no_edit() -> None:
    found = plan((here("1_a", sha256="other"),), history(row("1_a")), Policy())
    assert (found.drift, found.refusals) == ((), ())


def test_a_row_without_a_hash_says_nothing_about_the_text() -> None:
    found = plan((here("1_a", normalized="whatever"),), history(row("1_a", normalized="")), Policy())
    assert (found.drift, found.refusals) == ((), ())


def test_an_accepted_edit_is_told_but_not_refused() -> None:
    found = plan((here("1_a", normalized="new"),), history(row("1_a")), Policy(accept_edited=frozenset({"1"})))
    assert found.refusals == ()
    assert [f.version for f in found.accepted] == ["1"]
    assert drift(found) == [("edited", "1")]


def test_accepting_one_edit_does_not_accept_the_other() -> None:
    files = (here("1_a", normalized="new"), here("2_b", normalized="new"))
    found = plan(files, history(row("1_a"), row("2_b")), Policy(accept_edited=frozenset({"2"})))
    assert [(r.code, r.file) for r in found.refusals] == [("edited_after_applied", "1_a.sql")]


@pytest.mark.parametrize("version", ["2", "3"], ids=["pending", "unknown"])
def test_there_must_be_an_applied_version_to_accept(version: str) -> None:
    found = plan((here("1_a"), here("2_b")), history(row("1_a")), Policy(accept_edited=frozenset({version})))
    assert codes(found) == ["nothing_to_accept"]
    assert f"--accept-edited {version}" in found.refusals[0].message


def test_a_file_that_is_gone_is_drift_and_stops_nobody() -> None:
    found = plan((here("2_b"), here("3_c", normalized="c")), history(row("1_a"), row("2_b")), Policy())
    assert drift(found) == [("deleted", "1")]
    assert found.refusals == ()
    assert pending(found) == ["3"]


def test_a_renamed_file_is_drift_and_stops_nobody() -> None:
    found = plan((here("1_new"),), history(row("1_old")), Policy())
    assert drift(found) == [("renamed", "1")]
    assert "1_old.sql is now called 1_new.sql" in found.drift[0].message
    assert (found.refusals, found.pending) == ((), ())


def test_a_renamed_and_edited_file_is_told_as_edited_once() -> None:
    found = plan((here("1_new", normalized="new"),), history(row("1_old")), Policy())
    assert drift(found) == [("edited", "1")]


def test_a_version_of_another_tool_without_a_file_is_told() -> None:
    found = plan((here("1_a"),), history(row("1_a"), supabase=("1", "0")), Policy())
    assert drift(found) == [("applied_elsewhere", "0")]
    assert found.refusals == ()


def test_a_version_of_another_tool_with_a_file_is_simply_applied() -> None:
    found = plan((here("1_a"),), history(supabase=("1",)), Policy())
    assert (found.drift, found.pending, found.applied) == ((), (), ("1",))


@pytest.mark.parametrize(
    ("files", "past", "late"),
    [
        (("1_a", "2_b", "3_c"), history(row("1_a"), row("3_c")), ["2_b.sql"]),
        (("1_a", "2_b", "3_c"), history(row("3_c")), ["1_a.sql", "2_b.sql"]),
        (("1_a", "2_b"), history(supabase=("2",)), ["1_a.sql"]),
        (("1_a", "2_b"), history(row("1_a")), []),
        # begun earlier and stopped half-way: it goes on where it stopped
        (("1_a", "2_b"), history(row("2_b"), begun=("1",)), []),
        # what has no file here does not count
        (("1_a",), history(row("9_gone")), []),
        # the byte order of names is the order, as for the Supabase CLI
        (("10_b", "1_a"), history(row("1_a")), ["10_b.sql"]),
        (("10_b", "1_a"), history(row("10_b")), []),
    ],
)
def test_a_pending_file_before_an_applied_one_is_refused(files: tuple[str, ...], past: History, late: list[str]) -> None:
    found = plan(tuple(here(f) for f in files), past, Policy())
    assert [(r.code, r.file) for r in found.refusals] == [("out_of_order", name) for name in late]
    assert all("--allow-out-of-order" in r.hint for r in found.refusals)


def test_out_of_order_may_be_allowed() -> None:
    found = plan((here("1_a"), here("2_b")), history(row("2_b")), Policy(allow_out_of_order=True))
    assert found.refusals == ()
    assert pending(found) == ["1"]


def test_all_refusals_are_told_at_once() -> None:
    files = (here("1_a", normalized="new"), here("2_b"), here("3_c"))
    found = plan(files, history(row("1_a"), row("3_c")), Policy(accept_edited=frozenset({"8", "7"})))
    assert codes(found) == ["edited_after_applied", "out_of_order", "nothing_to_accept", "nothing_to_accept"]


@pytest.mark.parametrize(
    ("versions", "in_order"),
    [
        (["10", "9"], ["9", "10"]),
        (["20250101000000", "1", "0002"], ["1", "0002", "20250101000000"]),
        (["1", "01", "001"], ["001", "01", "1"]),
        (["5", "baseline"], ["baseline", "5"]),
        (["5", "\u0664", "²"], ["²", "\u0664", "5"]),
    ],
)
def test_versions_sort_by_number_whatever_their_width(versions: list[str], in_order: list[str]) -> None:
    assert sorted(versions, key=by_number) == in_order


def test_an_edit_that_was_accepted_before_may_be_accepted_again() -> None:
    found = plan((here("1_a"),), history(row("1_a")), Policy(accept_edited=frozenset({"1"})))
    assert codes(found) == []
    assert found.accepted == ()


def test_a_file_that_got_another_version_is_followed_and_not_run_again() -> None:
    found = plan((here("5_a", normalized="same"),), history(row("1_a", normalized="same")), Policy())
    assert pending(found) == []
    assert [(r.was.version, r.now.version) for r in found.renamed] == [("1", "5")]
    assert drift(found) == [("renamed", "5")]


def test_two_files_of_one_text_are_never_guessed_at() -> None:
    files = (here("5_a", normalized="same"), here("6_a", normalized="same"))
    found = plan(files, history(row("1_a", normalized="same")), Policy())
    assert pending(found) == ["5", "6"]
    assert found.renamed == ()


def test_a_deleted_file_can_be_a_reason_not_to_run() -> None:
    found = plan((here("2_b"),), history(row("1_a", normalized="gone"), row("2_b")), Policy(refuse_deleted=True))
    assert codes(found) == ["deleted_after_applied"]


def test_an_edited_file_shows_the_statements_that_changed() -> None:
    file = here("1_a", normalized="new")
    found = plan((file,), history(row("1_a")), Policy(), recorded={"1": ("create table a (id int)", "select 2")})
    detail = found.refusals[0].detail
    assert detail is not None
    assert "- create table a (id int)" in detail
