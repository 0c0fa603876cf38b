"""One module at a time: a pahole process, a btfd process, the daemon's warm path, reading alone.

Every result is compared with pahole's before its time counts: the same types, or the run fails.
Cost: a few seconds a module.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import CannotMeasure, Reading, Series, Warm, process
from bench.pahole import Pahole, why_not_comparable
from tests.kernel.tree import KernelTree
from tests.support.btf import Btf, compare, load
from tests.support.run import KBUILD_FEATURES

#: Small, small, large, the largest.
MODULES = ("af_key", "virtio_net", "xfs", "mlx5_core")


@dataclass(slots=True)
class Row:
    """What was measured of one module."""

    module: str
    size: int
    pahole: Series = field(default_factory=Series)
    process: Series = field(default_factory=Series)
    warm: Series = field(default_factory=Series)
    limit: Series = field(default_factory=Series)
    types: tuple[int, int] = (0, 0)
    bytes: tuple[int, int] = (0, 0)

    def ratios(self) -> tuple[float, float]:
        """How many times faster than pahole: the process, and warm."""
        return self.pahole.median / self.process.median, self.pahole.median / self.warm.median

    def as_json(self, comparable: bool) -> dict[str, object]:
        by_process, by_warm = self.ratios()
        found: dict[str, object] = {
            "module": self.module,
            "size": self.size,
            "pahole": self.pahole.as_json(),
            "btfd_process": self.process.as_json(),
            "btfd_warm": self.warm.as_json(),
            "read_only": self.limit.as_json(),
            "ratio_process": round(by_process, 2),
            "ratio_warm": round(by_warm, 2),
            "btfd_types": self.types[1],
            "btfd_bytes": self.bytes[1],
        }
        if comparable:
            found |= {"pahole_types": self.types[0], "pahole_bytes": self.bytes[0]}
        return found


def size_of(btf: Btf) -> int:
    """Bytes of BTF, with the shortest header whichever it has."""
    return 24 + len(btf.type_bytes) + len(btf.strings)


def check_equal(name: str, theirs: Btf, ours: Btf, pahole: Pahole) -> bool:
    """A time counts only with the same types, which is insisted on with a pahole of today.

    An older one chooses other functions, and its libbpf merges some recursive typedefs otherwise.
    """
    if theirs.type_bytes == ours.type_bytes and theirs.strings == ours.strings:
        return True
    verdict = compare(theirs, ours, functions=pahole.current)
    if pahole.current and not verdict.same:
        raise CannotMeasure(f"{name}: not pahole's types: {'; '.join(verdict.lines[:3])}")
    return verdict.same


def measure(
    tree: KernelTree, name: str, pahole: Pahole, warm: Warm, base: Btf, work: Path, runs: int
) -> tuple[Row, str | None]:
    """All series of one module, and why its size cannot be compared."""
    module = work / f"{name}.ko"
    source = tree.root / tree.find(name)
    shutil.copyfile(source, module)
    row = Row(name, module.stat().st_size)
    detached = work / "btfd.btf"
    command = [sys.executable, "-m", "btfd", "encode", "--base", str(tree.vmlinux)]
    command += ["--btf-features", KBUILD_FEATURES, "--detached", str(detached), str(module)]
    reading = Reading(module)

    result = pahole.run(tree.vmlinux, module, work)
    theirs, why = load(result, base), why_not_comparable(result, base)
    process(command)
    ours = load(detached, base)
    if warm.run(module, work).btf != detached.read_bytes():
        raise CannotMeasure(f"{name}: process and core made different BTF")
    if why is None:
        check_equal(name, theirs, ours, pahole)
    row.types = len(theirs), len(ours)
    row.bytes = (size_of(theirs), size_of(ours))

    for _ in range(runs):
        pahole.run(tree.vmlinux, module, work, row.pahole)
        process(command, row.process)
        warm.run(module, work, row.warm)
        reading.run(row.limit)
    module.unlink()
    return row, why


def table(rows: list[Row], comparable: bool) -> Iterator[list[str]]:
    """Head and lines, cell by cell."""
    head = ["module", "pahole ms", "btfd process ms", "ratio", "btfd warm ms", "ratio", "read ms"]
    yield head + (["types", "bytes"] if comparable else ["btfd types", "btfd bytes"])
    for row in rows:
        by_process, by_warm = row.ratios()
        line = [row.module, row.pahole.cell(), row.process.cell(), f"{by_process:.1f}x"]
        line += [row.warm.cell(), f"{by_warm:.1f}x", row.limit.cell()]
        for theirs, ours in (row.types, row.bytes):
            line.append(f"{theirs}/{ours}" if comparable else str(ours))
        yield line
