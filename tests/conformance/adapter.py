"""Runs the operation of a case on the project."""

from dataclasses import dataclass, field

from btfd import _core

from . import wire
from .format import LOWER, Json

#: Operations of the cases that the project does not have.
MISSING = {"distill", "distill_relocate", "relocate", "permute", "sort_by_name"}


@dataclass(frozen=True)
class Outcome:
    """What an operation gave: types, an error, answers, or the reason why it was not run."""

    types: list[Json] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    error: str | None = None
    skipped: str | None = None


def run(case: Json) -> Outcome:
    op = case["op"]
    if op in MISSING:
        return Outcome(skipped=f"{op} is not implemented")
    strings = wire.Strings()
    layers = [
        wire.encode(case[name], strings, case.get(f"{name}_strings"), case.get(f"{name}_layout"))
        for name in LOWER
        if name in case
    ]
    lower_strings = strings.data
    top = wire.encode(case["split"], strings, case.get("split_strings"), case.get("layout"))
    first_id = 1 + sum(len(case.get(name, [])) for name in LOWER)
    try:
        if op == "find":
            return Outcome(answers=[_answer([*layers, top], query) for query in case["queries"]])
        if op == "parse":
            _core._parse(layers, top)
        elif op == "dedup":
            for _ in range(case.get("options", {}).get("passes", 1)):
                top = _core.dedup(layers, top)
        else:
            raise ValueError(f"unknown operation {op!r}")
    except _core.CoreError as error:
        return Outcome(error=error.errno_name or str(error))
    decoded = wire.decode(top, first_id, lower_strings)
    return Outcome(types=decoded.types, strings=decoded.strings)


def _answer(layers: list[bytes], query: Json) -> int | str:
    found = _core.find(layers, query["name"].encode(), query.get("kind"))
    return "ENOENT" if found is None else found
