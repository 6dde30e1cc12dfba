"""Tables of like cases: a slice of each belongs to every test run, all of them to `make faults`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slice_of(cases: Iterable[Any], *always: Any) -> list[Any]:
    """The cases as parameters, those that are not among `always` for `make faults` only. Each of `always` must be there."""
    found = list(cases)
    missing = [case for case in always if case not in found]
    if missing:
        raise ValueError(f"no such case: {missing}")
    return [pytest.param(case, marks=() if case in always else pytest.mark.faults) for case in found]
