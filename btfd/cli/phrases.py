"""How events are said to people.

Contract: one line an event, with a few below it that say which types changed; data on stdout and
troubles on stderr. Paths of modules are shown below their tree's where several trees are told of.
What is of no use to a reader, such as that kbuild's BTF was found right, is only in the JSON.
"""

import os
from collections.abc import Mapping
from typing import Any

from btfd import kbuild
from btfd.cli import changes
from btfd.cli.output import Output
from btfd.feedback import ranked
from btfd.journal import Event

_COLOURS = {"failed": "red", "base-missing": "red", "deaf": "red", "encoded": "green"}
#: Something is wrong with BTF.
_TROUBLES = frozenset({"failed", "base-missing", "deaf", "not-followed", "not-reloaded"})
#: Something to know, on stderr too.
_REMARKS = frozenset(
    {"lost", "degraded", "healed", "gate", "ignored", "skipped", "held", "leftover"}
)
_SILENT = frozenset({"kept"})


def show(event: Event, out: Output) -> None:
    """One event: a line on stdout, troubles on stderr."""
    if out.json:
        out.object(event.as_json())
        return
    fields = event.fields
    feedback, counts = fields.get("feedback"), fields.get("counts")
    if event.kind in _SILENT and not feedback:
        return
    if event.kind in _TROUBLES:
        out.failure(whole(event), fields["reason"], fields.get("hint"))
    elif event.kind in _REMARKS:
        subject = whole(event) or fields.get("symbol", "")
        out.note(f"{subject}: {fields['reason']}", fields.get("hint"))
    else:
        name = out.paint(event.kind, _COLOURS[event.kind]) if event.kind in _COLOURS else event.kind
        out.line(f"{name}: {words(event)}")
        if feedback or counts:
            for text in changes.lines(ranked(feedback or ()), out, whole=counts):
                out.line(f"  {text}")
        for warning in fields.get("warnings", ()):
            out.note(f"{whole(event)}: {warning}")


def whole(event: Event) -> str | None:
    """The path of an event; with its tree where that is told."""
    tree = event.fields.get("tree")
    return event.path if event.path is None or not tree else os.path.join(tree, event.path)


def words(event: Event) -> str:
    """What happened, without the name of the event."""
    fields: Mapping[str, Any] = event.fields
    match event.kind:
        case "encoded" | "unchanged":
            took = sum(fields["milliseconds"].values())
            full = fields.get("full_bytes")
            size = f"{fields['split_bytes']} bytes" + (f" of {full}" if full else "")
            same = ", no type changed" if fields.get("feedback") == [] else ""
            return (
                f"{whole(event)} ({fields['because']}), {fields['types']} types, "
                f"{size}, {took:.1f} ms{same}"
            )
        case "ready":
            return f"{event.path}, {fields['stale']} stale"
        case "stale":
            where = f"{fields['tree']}: " if "tree" in fields else ""
            return f"{where}{fields['modules']} modules ({fields['because']})"
        case "base-same":
            return f"{_base(event)} was relinked with the same BTF, nothing to do"
        case "base-changed":
            overtaken = fields["overtaken"]
            dropped = f", {overtaken} overtaken" if overtaken else ""
            return f"{_base(event)} has new BTF {fields['digest'][:12]}{dropped}"
        case "base-types":
            took = sum(fields["milliseconds"].values())
            said = changes.counted(fields["counts"]) or "no type changed"
            return f"{_base(event)}: {said}, compared in {took:.0f} ms"
        case "base-found":
            return f"{_base(event)} has BTF {fields['digest'][:12]}"
        case "reloaded":
            return ", ".join(fields["changed"]) or "nothing changed"
        case _:
            reason = fields.get("reason")
            return (whole(event) or "") + (f": {reason}" if reason else "")


def _base(event: Event) -> str:
    return (whole(event) if "tree" in event.fields else None) or kbuild.BASE
