"""Types of a module as the feedback compares them, and what is said of two."""

from __future__ import annotations

from pathlib import Path

from btfd.cli import changes
from btfd.cli.output import Output
from btfd.engine import Base, Graph, native
from btfd.feedback import ranked
from tests.support.run import KBUILD_FEATURES


def encoded(base: Base | None, module: Path) -> Graph:
    """What the DWARF of a module holds beside the base; all types that it has, without one."""
    made = native().encode(
        str(module),
        base,
        KBUILD_FEATURES.split(","),
        lang_exclude=(),
        threads=1,
        full=False,
        resolve=False,
        earlier=None,
    )
    return (made.btf, base, None)


def said(old: Graph, new: Graph) -> tuple[str, ...]:
    """The lines of feedback, in order."""
    out = Output()
    return tuple(changes.line(change, out) for change in ranked(native().diff(old, new)))
