"""An edit of a large module: the same file but for one unit, with what its last link told.

An edit is a letter of a name that stands once in `.debug_str`, which has a copy for each unit: only
one unit knows it, and says something else now. pahole reads the same file. Every result is compared
with pahole's before its time counts. Cost: some seconds a module.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench.measure import CannotMeasure, Series, Warm
from bench.modules import check_equal
from bench.pahole import Pahole
from tests.kernel.tree import KernelTree
from tests.support.btf import Btf, load
from tests.support.elf import Elf

#: Many units, and the most types.
MODULES = ("xfs", "mlx5_core")


@dataclass(slots=True)
class Row:
    """What was measured of one module."""

    module: str
    units: int = 0
    pahole: Series = field(default_factory=Series)
    first: Series = field(default_factory=Series)
    again: Series = field(default_factory=Series)
    read: list[int] = field(default_factory=list)
    """Units that were read, of each edit."""
    memory: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "module": self.module,
            "units": self.units,
            "units_read": max(self.read),
            "pahole": self.pahole.as_json(),
            "btfd_first": self.first.as_json(),
            "btfd_again": self.again.as_json(),
            "ratio": round(self.pahole.median / self.again.median, 2),
            "memory": self.memory,
        }


class Edits:
    """A module that is edited, one letter at a time."""

    def __init__(self, source: Path, module: Path) -> None:
        shutil.copyfile(source, module)
        elf = Elf.read(module)
        strings = elf.find(".debug_str")
        if strings is None:
            raise CannotMeasure(f"{source}: no .debug_str")
        self.module = module
        self._start = strings.offset
        self._strings = bytearray(elf.contents(".debug_str") or b"")
        self._random = Random(1)

    def edit(self) -> None:
        """Changes the case of a letter."""
        text = self._strings
        while True:
            place = self._random.randrange(len(text))
            name = text[text.rfind(0, 0, place) + 1 : text.find(0, place) + 1]
            if text[place : place + 1].isalpha() and text.count(b"\0" + name) == 1:
                break
        text[place] ^= 0x20
        with self.module.open("r+b") as file:
            file.seek(self._start + place)
            file.write(text[place : place + 1])


def measure(
    tree: KernelTree, name: str, pahole: Pahole, warm: Warm, base: Btf, work: Path, runs: int
) -> Row:
    """All series of one module."""
    row = Row(name)
    edits = Edits(tree.root / tree.find(name), work / f"{name}.ko")
    remembered = warm.core.Remembered()
    for _ in range(runs + 1):
        theirs = load(pahole.run(tree.vmlinux, edits.module, work, row.pahole), base)
        again = warm.run(edits.module, work, row.again, remembered)
        first = warm.run(edits.module, work, row.first)
        if again.btf != first.btf:
            raise CannotMeasure(f"{name}: what is remembered is not what is read")
        (work / "ours.btf").write_bytes(again.btf)
        check_equal(name, theirs, load(work / "ours.btf", base), pahole)
        assert again.remembered is not None
        remembered = again.remembered
        row.units, spared = again.units
        row.read.append(row.units - spared)
        row.memory = remembered.size
        edits.edit()
    # The first time there was nothing to remember.
    for series in (row.pahole, row.first, row.again):
        del series.wall[0], series.cpu[0]
    del row.read[0]
    return row


def table(rows: list[Row]) -> Iterator[list[str]]:
    """Head and lines, cell by cell."""
    head = ["one unit edited", "units", "read", "pahole ms", "btfd anew ms", "ratio"]
    yield [*head, "btfd again ms", "ratio", "memory MB"]
    for row in rows:
        line = [row.module, str(row.units), str(max(row.read)), row.pahole.cell()]
        for series in (row.first, row.again):
            line += [series.cell(), f"{row.pahole.median / series.median:.1f}x"]
        yield [*line, f"{row.memory / 1e6:.0f}"]
