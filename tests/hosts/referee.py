"""Holds an exchange between us and a stand-in to the host's own document, in both directions.

The documents leave most keys optional and nothing forbidden, so this is stricter: a query, a form field or a key of an answer
that the document does not name is a complaint. Knows as much of Swagger 2.0 as those documents use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
}  # fmt: skip
#: Netlify's hooks stand in no document (health.md, section 6), nor do the sites that visitors see.
_ELSEWHERE = re.compile(r"^/build_hooks/|^/$|^/api/health$")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / name).read_text())
    return found


def complaints(document: Mapping[str, Any], exchange: Mapping[str, Any]) -> list[str]:
    """What an exchange, as `/_told` gives it, breaks of the document."""
    if _ELSEWHERE.match(exchange["path"]):
        return []
    path = exchange["path"].removeprefix(document["basePath"])
    operation = _operation(document, exchange["method"].lower(), path)
    where = f"{exchange['method']} {path}"
    if operation is None:
        return [f"{where} is in no document"]
    return [f"{where}: {text}" for text in (*_asked(operation, exchange), *_answered(document, operation, exchange))]


def _operation(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any] | None:
    for template, operations in document["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method in operations:
            found: Mapping[str, Any] = operations[method]
            return found
    return None


def _asked(operation: Mapping[str, Any], exchange: Mapping[str, Any]) -> list[str]:
    found = []
    queries = {p["name"]: p for p in operation["parameters"] if p["in"] == "query"}
    for name, value in exchange["query"].items():
        if name not in queries:
            found.append(f"no query {name}")
        elif "enum" in queries[name] and value not in queries[name]["enum"]:
            found.append(f"the query {name} may not be {value}")
        elif queries[name].get("type") == "integer" and not value.isdecimal():
            found.append(f"the query {name} is no number")
    found += [f"the query {n} is missing" for n, p in queries.items() if p.get("required") and n not in exchange["query"]]
    fields = {p["name"] for p in operation["parameters"] if p["in"] == "formData"}
    sent = re.findall(r'name="([^"]+)"', exchange["body"]) if "multipart" in exchange["headers"].get("content-type", "") else []
    return found + [f"no field {name}" for name in sent if name not in fields]


def _answered(document: Mapping[str, Any], operation: Mapping[str, Any], exchange: Mapping[str, Any]) -> list[str]:
    if exchange["status"] is None:
        return []
    responses = operation["responses"]
    response = responses.get(str(exchange["status"]), responses.get("default") if exchange["status"] >= 400 else None)
    if response is None:
        return [f"no answer {exchange['status']}"]
    if "schema" not in response:
        return []
    return _wrong(document, response["schema"], exchange["document"], "answer")


def _wrong(document: Mapping[str, Any], schema: Mapping[str, Any], value: object, at: str) -> list[str]:
    if "$ref" in schema:
        schema = document["definitions"][schema["$ref"].rsplit("/", 1)[-1]]
    if value is None and schema.get("x-nullable"):
        return []
    kind = schema.get("type", "object")
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{at} is no {kind}: {value!r}"]
    found = [f"{at} may not be {value!r}"] if "enum" in schema and value not in schema["enum"] else []
    if isinstance(value, list):
        for number, item in enumerate(value):
            found += _wrong(document, schema["items"], item, f"{at}[{number}]")
    return found + _wrong_inside(document, schema, value, at) if isinstance(value, dict) else found


def _wrong_inside(document: Mapping[str, Any], schema: Mapping[str, Any], value: Mapping[str, object], at: str) -> list[str]:
    found = [f"{at} lacks {key}" for key in schema.get("required", []) if key not in value]
    properties = schema.get("properties", {})
    for key, inner in value.items():
        if key in properties:
            found += _wrong(document, properties[key], inner, f"{at}.{key}")
        elif properties and "additionalProperties" not in schema:
            found.append(f"{at} has {key}, which no document names")
    return found
