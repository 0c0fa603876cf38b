"""Every case that comes with the project, and the checker's own eyesight."""

from pathlib import Path

import pytest

from . import adapter, compare, wire
from .format import LOWER, Json, complete_all, read_cases

CASES = [case for _, case in read_cases([Path(__file__).parent / "cases"])]
assert CASES, "no cases found"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: Json) -> None:
    outcome = adapter.run(case)
    if outcome.skipped is not None:
        pytest.skip(outcome.skipped)
    assert compare.difference(case, outcome) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_wire_round_trip(case: Json) -> None:
    """What the writer writes, the reader reads."""
    strings, first = wire.Strings(), 1
    for name in (*LOWER, "split"):
        types = case.get(name)
        if types is None or any(t["kind"] == "unknown" for t in types):
            continue
        if any("raw_off" in t["name"] for t in types if isinstance(t.get("name"), dict)):
            continue
        below = strings.data
        btf = wire.encode(types, strings, case.get(f"{name}_strings"))
        read, given = wire.decode(btf, first, below).types, complete_all(types, first)
        for t, g in zip(complete_all(read, first), given, strict=True):
            # A name may be given as a place inside a longer string.
            assert {**t, "name": g["name"]} == g
            assert g["name"].endswith(t["name"])
        first += len(types)


def test_a_difference_is_seen() -> None:
    case = next(c for c in CASES if c["op"] == "dedup" and c["expect"].get("types"))
    outcome = adapter.run(case)
    fewer = adapter.Outcome(types=outcome.types[:-1], strings=outcome.strings)
    assert compare.difference(case, fewer) is not None
    assert compare.difference(case, adapter.Outcome(error="EINVAL")) is not None
