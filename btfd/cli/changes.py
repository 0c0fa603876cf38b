"""How changes are said: lines for people, notes that compilers' readers understand, SARIF.

Contract: what is told first is what matters most; what is left out is counted. Readable without
colour: `~` changed, `+` added, `-` removed.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from btfd.cli.output import Output
from btfd.feedback import KFUNC, Change, Detail, counts

#: Lines of changes under an event, and phrases in a line.
LINES = 6
PHRASES = 4

_MARKS = {"changed": ("~", "yellow"), "added": ("+", "green"), "removed": ("-", "red")}
_LINKAGE = {0: "static", 1: "global", 2: "extern"}


def lines(
    changes: Sequence[Change],
    out: Output,
    *,
    most: int | None = LINES,
    whole: Mapping[str, int] | None = None,
) -> list[str]:
    """One line a change, and one for the rest. `whole`: counts, where not all are given."""
    every = dict(whole or counts(changes))
    all_fit = most is None or sum(every.values()) <= most
    shown = changes if most is None or all_fit else changes[: most - 1]
    text = [line(change, out, phrases=PHRASES) for change in shown]
    told = counts(shown)
    rest = counted({word: n - told[word] for word, n in every.items()})
    if rest:
        text.append(f"and {rest} more")
    return text


def counted(numbers: Mapping[str, int]) -> str:
    """`3 changed, 1 added`; nothing where all is zero."""
    return ", ".join(f"{n} {word}" for word, n in numbers.items() if n > 0)


def line(change: Change, out: Output, *, phrases: int | None = None) -> str:
    """One change."""
    mark, colour = _MARKS[change.change]
    said = saying(change)
    if phrases is not None and len(said) > phrases:
        said = [*said[: phrases - 1], f"{len(said) - phrases + 1} more"]
    text = f"{out.paint(mark, colour)} {headline(change)}"
    return f"{text}: {', '.join(said)}" if said else text


def headline(change: Change) -> str:
    """What it is, with its size or prototype."""
    old, new = change.size
    text = change.subject
    if change.kind in ("func", "var"):
        text = change.text[1] or change.text[0] or text
    elif change.kind == "typedef":
        text = f"typedef {text}"
        if change.change != "changed":
            text += f" = {change.text[1] or change.text[0]}"
    elif change.change == "changed" and old != new:
        text += f" {old} -> {new} bytes"
    elif change.kind in ("struct", "union", "int", "float"):
        text += f" {new if new is not None else old} bytes"
    if change.layer == "base":
        text += " (vmlinux)"
    return text


def saying(change: Change) -> list[str]:
    """What changed, in phrases; members that only moved together are one."""
    said: list[str] = []
    if change.shadows:
        said.append("vmlinux has another one")
    moved = [d for d in change.details if d.what == "member-moved"]
    retold = {d.name for d in change.details if d.what in ("member-retyped", "member-resized")}
    for detail in change.details:
        if detail.what == "size" and change.size[0] != change.size[1]:
            continue
        if detail.what == "member-moved" and (len(moved) > 2 or detail.name in retold):
            continue
        said.append(phrase(detail))
    if len(moved) > 2:
        said.append(_moves(moved))
    return said


def _moves(moved: Sequence[Detail]) -> str:
    steps = {d.new["offset"] - d.old["offset"] for d in moved}
    by = f" by {_bits(next(iter(steps)), sign=True)}" if len(steps) == 1 else ""
    return f"{len(moved)} members moved{by}"


def phrase(detail: Detail) -> str:
    """One difference in words."""
    name, old, new = detail.name, detail.old, detail.new
    match detail.what:
        case "size":
            return f"{old} -> {new} bytes"
        case "member-added":
            return f"+{name} ({new['type']}) at {_at(new)}"
        case "member-removed":
            return f"-{name} ({old['type']}) at {_at(old)}"
        case "member-renamed" | "value-renamed" | "param-renamed":
            return f"{old} renamed {new}"
        case "member-retyped":
            return f"{name} {old['type']} -> {new['type']}"
        case "member-resized":
            return f"{name} {_span(old['bits'], new['bits'])}"
        case "member-moved":
            return f"{name} moved {_at(old)} -> {_at(new)}"
        case "arranged":
            return f"{name or 'members'} arranged otherwise"
        case "hole-added":
            return f"new hole of {_bits(new)}{_behind(name)}"
        case "hole-removed":
            return f"no hole of {_bits(old)}{_behind(name)} any more"
        case "hole-resized":
            return f"hole{_behind(name)} {_span(old, new)}"
        case "padding":
            return f"padding {_span(old, new)}"
        case "crossing-added":
            return f"{name} crosses into cache line {new + 1}"
        case "crossing-removed":
            return f"{name} crosses no cache line any more"
        case "value-added":
            return f"+{name} = {new}"
        case "value-removed":
            return f"-{name} = {old}"
        case "value-changed":
            return f"{name} {old} -> {new}"
        case "sign":
            return "signed" if new else "unsigned"
        case "returns":
            return f"returns {old} -> {new}"
        case "param-added":
            return f"+{name} ({new})"
        case "param-removed":
            return f"-{name} ({old})"
        case "param-retyped":
            return f"{name} {old} -> {new}"
        case "param-moved":
            return f"{name} moved from position {old + 1} to {new + 1}"
        case "linkage":
            return f"{_LINKAGE.get(old, old)} -> {_LINKAGE.get(new, new)}"
        case "type":
            return f"{old} -> {new}"
        case "place":
            if old and new and {**old, "size": 0} == {**new, "size": 0}:
                return f"{old['size']} -> {new['size']} bytes"
            return f"at {_place(old)} -> {_place(new)}"
        case "tag-added":
            return "now a kfunc" if name == KFUNC else f"+tag {name}"
        case "tag-removed":
            return "no kfunc any more" if name == KFUNC else f"-tag {name}"
        case what:
            return f"{what} {old} -> {new}"


def _behind(name: str) -> str:
    return f" behind {name}" if name else " at the start"


def _at(member: dict[str, Any]) -> str:
    whole, bits = divmod(member["offset"], 8)
    return f"{whole}:{bits}" if bits or ":" in member["type"] else str(whole)


def _bits(bits: int, *, sign: bool = False) -> str:
    number, unit = (bits // 8, "byte") if bits % 8 == 0 else (bits, "bit")
    plural = "" if abs(number) == 1 else "s"
    return f"{number:+d} {unit}{plural}" if sign else f"{number} {unit}{plural}"


def _span(old: int, new: int) -> str:
    if old % 8 or new % 8:
        return f"{old} -> {new} bits"
    return f"{old // 8} -> {new // 8} bytes"


def _place(place: dict[str, Any] | None) -> str:
    return f"{place['section']}+{place['offset']}" if place else "nowhere"


def notes(changes: Iterable[Change], where: str, root: str | None = None) -> Iterable[str]:
    """`file:line:col: note: ...`, as gcc says it; `where` stands for things without a line.

    Names that were relative to the compiler are sought below `root`.
    """
    for change in changes:
        at = _position(_below(root, change.file), change.line, change.column, where)
        said = saying(change)
        own: list[tuple[str, Detail]] = []
        for detail in change.details:
            line = (change.lines or {}).get(detail.name)
            if line is not None and detail.what != "member-moved":
                file = _below(root, line[0])
                own.append((_position(file, line[1], line[2], where), detail))
        text = "; ".join(said)
        tail = f": {text}" if text else ""
        yield f"{at}: note: {headline(change)} {change.change}{tail} [btf]"
        for position, detail in own:
            yield f"{position}: note: {change.subject}: {phrase(detail)} [btf]"


def _below(root: str | None, file: str | None) -> str | None:
    if root is None or file is None:
        return file
    path = os.path.join(root, file)
    return path if os.path.exists(path) else file


def _position(file: str | None, line: int | None, column: int | None, where: str) -> str:
    if file is None or line is None:
        return f"{where}:1"
    return f"{file}:{line}:{column}" if column else f"{file}:{line}"


def sarif(found: Iterable[tuple[str, Sequence[Change]]], version: str) -> dict[str, Any]:
    """A SARIF 2.1.0 log: one result a change, its topics as the rule."""
    results: list[dict[str, Any]] = []
    rules: dict[str, dict[str, Any]] = {}
    for name, changes in found:
        for change in changes:
            topics = sorted(change.topics - {"any", "added", "removed"})
            rule = f"btf/{topics[0] if topics else change.change}"
            rules.setdefault(rule, {"id": rule, "shortDescription": {"text": _RULES[rule[4:]]}})
            said = "; ".join(saying(change))
            text = f"{headline(change)} {change.change}" + (f": {said}" if said else "")
            uri = os.fsencode(change.file or name).decode(errors="replace")
            location: dict[str, Any] = {"artifactLocation": {"uri": uri}}
            if change.line:
                location["region"] = {"startLine": change.line}
                if change.column:
                    location["region"]["startColumn"] = change.column
            results.append(
                {
                    "ruleId": rule,
                    "level": "note" if change.change == "added" else "warning",
                    "message": {"text": text},
                    "locations": [{"physicalLocation": location}],
                    "properties": {"module": name},
                }
            )
    driver = {"name": "btfd", "version": version, "rules": sorted(rules.values(), key=_rule_id)}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _rule_id(rule: dict[str, Any]) -> str:
    return str(rule["id"])


_RULES = {
    "layout": "the layout of a struct or union changed",
    "proto": "the prototype of a function changed",
    "enum": "the values of an enum changed",
    "kfunc": "a function became a kfunc, or is none any more",
    "percpu": "a percpu variable changed",
    "typedef": "a name means another type",
    "shadow": "a type differs from the one that vmlinux has under its name",
    "added": "a type, function or variable is new",
    "removed": "a type, function or variable is gone",
    "changed": "something changed",
}
