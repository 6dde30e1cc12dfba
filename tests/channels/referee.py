"""Holds exchanges with a channel to its own OpenAPI document, in both directions.

github-issues.json: from npm @octokit/openapi 23.0.2 (MIT), the issues alone. pagerduty-events-v2.json: PagerDuty/api-schema.
Slack's incoming webhook is in no document: its limits are in health.md, section 6.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

_FILES = {"github": "github-issues.json", "pagerduty": "pagerduty-events-v2.json"}
#: Where the document's paths begin.
_BASES = {"github": "", "pagerduty": "/v2"}


@functools.cache
def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / _FILES[name]).read_text())
    return found


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = document("github")["components"]["examples"][name]["value"]
    return found


@functools.cache
def _registry(name: str) -> Any:
    return Registry().with_resource("urn:document", Resource.from_contents(document(name), default_specification=DRAFT4))


def asked(name: str, method: str, path: str, body: object) -> list[str]:
    """What a request's path and body break of the document."""
    where = _operation(name, method, path)
    if where is None:
        return [f"{method} {path} is in no document"]
    operation = document(name)["paths"][where[0]][where[1]]
    if "requestBody" not in operation:
        return [] if body is None else [f"{method} {path} takes no body"]
    pointer = f"/paths/{_escaped(where[0])}/{where[1]}/requestBody/content/application~1json/schema"
    return _wrong(name, pointer, body)


def answered(name: str, method: str, path: str, status: int, body: object) -> list[str]:
    """What an answer's status and body break of the document."""
    where = _operation(name, method, path)
    assert where is not None
    response = document(name)["paths"][where[0]][where[1]]["responses"].get(str(status))
    if response is None:
        return [f"{method} {path} is never answered with {status}"]
    pointer = f"/paths/{_escaped(where[0])}/{where[1]}/responses/{status}"
    if "$ref" in response:
        response, pointer = _resolved(name, response["$ref"]), response["$ref"].removeprefix("#")
    if "content" not in response:
        return []
    return _wrong(name, f"{pointer}/content/application~1json/schema", body)


def _resolved(name: str, ref: str) -> Any:
    found: Any = document(name)
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _wrong(name: str, pointer: str, body: object) -> list[str]:
    validator = OAS30Validator({"$ref": f"urn:document#{pointer}"}, registry=_registry(name))
    return [f"{'/'.join(map(str, e.absolute_path)) or 'body'}: {e.message[:200]}" for e in validator.iter_errors(body)]


def _operation(name: str, method: str, path: str) -> tuple[str, str] | None:
    inside = path.removeprefix(_BASES[name])
    for template, operations in document(name)["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, inside) and method.lower() in operations:
            return template, method.lower()
    return None


def _escaped(template: str) -> str:
    return template.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
