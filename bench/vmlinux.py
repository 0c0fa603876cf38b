"""vmlinux from DWARF, as kbuild has it made: pahole and the drop-in in turn; time and peak.

Cost: ten seconds of pahole a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import CannotMeasure, Series, peak_of
from bench.modules import check_equal
from bench.pahole import Pahole
from tests.kernel.tree import KernelTree
from tests.support.btf import load


@dataclass(slots=True)
class VmlinuxRow:
    """One number of threads. Peaks in bytes."""

    threads: int
    pahole: Series = field(default_factory=Series)
    btfd: Series = field(default_factory=Series)
    pahole_peak: int = 0
    btfd_peak: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "threads": self.threads,
            "pahole": self.pahole.as_json(),
            "btfd": self.btfd.as_json(),
            "pahole_peak": self.pahole_peak,
            "btfd_peak": self.btfd_peak,
        }


def measure(tree: KernelTree, pahole: Pahole, work: Path, runs: int, jobs: int) -> list[VmlinuxRow]:
    """Rows for one thread and for `jobs`."""
    if not pahole.detached:
        raise CannotMeasure(f"pahole {pahole.version} cannot write BTF of vmlinux beside it")
    drop_in = Path(sys.executable).with_name("btfd-pahole")
    rows = []
    theirs, ours = work / "vmlinux.pahole", work / "vmlinux.btfd"
    for threads in sorted({1, jobs}):
        row = VmlinuxRow(threads)
        flags = [*pahole.flags, f"-j{threads}"] if threads > 1 else list(pahole.flags)
        command = [pahole.program, *flags, f"--btf_encode_detached={theirs}", str(tree.vmlinux)]
        mine = [str(drop_in), *command[1:-2], f"--btf_encode_detached={ours}", str(tree.vmlinux)]
        for _ in range(runs):
            theirs.unlink(missing_ok=True)
            row.pahole_peak = max(row.pahole_peak, peak_of(command, row.pahole))
            row.btfd_peak = max(row.btfd_peak, peak_of(mine, row.btfd))
        if threads == 1:
            check_equal("vmlinux", load(theirs), load(ours), pahole)
        rows.append(row)
    return rows


def table(rows: list[VmlinuxRow]) -> Iterator[list[str]]:
    """Head and lines, cell by cell."""
    yield ["vmlinux from DWARF", "pahole ms", "peak MB", "btfd ms", "peak MB", "ratio"]
    for row in rows:
        line = [f"{row.threads} thread" + "s" * (row.threads > 1)]
        line += [row.pahole.cell(), f"{row.pahole_peak / 1e6:.0f}"]
        line += [row.btfd.cell(), f"{row.btfd_peak / 1e6:.0f}"]
        yield [*line, f"{row.pahole.median / row.btfd.median:.1f}x"]
