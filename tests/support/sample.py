"""Building the sample tree."""

from __future__ import annotations

from pathlib import Path

from tests.support.run import must

SOURCES = Path(__file__).resolve().parent.parent / "sample"
#: Modules without any debug information: they cannot get BTF, and that is no failure.
WITHOUT_DWARF = frozenset({"kernel/lib/plain.ko"})


def build(out: Path, *options: str, sources: Path = SOURCES) -> str:
    """Makes the tree in `out`, or what is asked for in `options`; returns what make said."""
    return must("make", "-j2", "-C", sources, f"OUT={out}", *options).stdout


def modules(out: Path) -> list[str]:
    """The modules of a tree, as modules.order names them."""
    return (out / "modules.order").read_text().split()
