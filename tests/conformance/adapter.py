"""Runs the operation of a case on the project."""

from dataclasses import dataclass, field

from btfd import _core

from . import wire
from .format import LOWER, Json


@dataclass(frozen=True)
class Outcome:
    """What an operation gave: types, an error, answers, or the reason why it was not run."""

    types: list[Json] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    distilled_base: list[Json] = field(default_factory=list)
    error: str | None = None
    skipped: str | None = None


def run(case: Json) -> Outcome:
    strings = wire.Strings()
    layers = [
        wire.encode(case[name], strings, case.get(f"{name}_strings"), case.get(f"{name}_layout"))
        for name in LOWER
        if name in case
    ]
    lower_strings = strings.data
    top = wire.encode(case["split"], strings, case.get("split_strings"), case.get("layout"))
    try:
        if case["op"] == "find":
            return Outcome(answers=[_answer([*layers, top], query) for query in case["queries"]])
        return _rewrite(case, layers, lower_strings, top)
    except _core.CoreError as error:
        return Outcome(error=error.errno_name or str(error))


def _rewrite(case: Json, layers: list[bytes], below: bytes, top: bytes) -> Outcome:
    """The operations that give the top layer anew; `below` are the strings that it stands on."""
    first_id = 1 + sum(len(case.get(name, [])) for name in LOWER)
    distilled: list[Json] = []
    match case["op"]:
        case "parse":
            _core._parse(layers, top)
        case "dedup":
            for _ in range(case.get("options", {}).get("passes", 1)):
                top = _core.dedup(layers, top)
        case "permute":
            top = _core.permute(layers, top, case["id_map"])
        case "sort_by_name":
            top = _core.sort_by_name(layers, top)
        case "distill":
            base, top = _core.distill(layers, top)
            distilled = wire.decode(base, 1, b"").types
            first_id, below = 1 + len(distilled), wire.section(base, 1)
        case "distill_relocate" | "relocate":
            if case["op"] == "relocate":
                (base,) = layers
            else:
                base, top = _core.distill(layers, top)
            target = wire.encode(case["target_base"], wire.Strings())
            top = _core.relocate(top, base, _core.Base.from_bytes(target))
            first_id, below = 1 + len(case["target_base"]), wire.section(target, 1)
        case other:
            raise ValueError(f"unknown operation {other!r}")
    decoded = wire.decode(top, first_id, below)
    return Outcome(types=decoded.types, strings=decoded.strings, distilled_base=distilled)


def _answer(layers: list[bytes], query: Json) -> int | str:
    found = _core.find(layers, query["name"].encode(), query.get("kind"))
    return "ENOENT" if found is None else found
