"""How cost grows: with the DWARF, types and CUs of a module, and with the number of modules.

Modules of one tree, spread over all sizes, go the warm path; then the whole tree is encoded as
often under other names (hard links) as it takes to have 1, 2 and 5 times its modules, each really
encoded, with one thread and with all. Cost: half a minute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Series, Warm, peak_of
from tests.kernel.tree import KernelTree
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES

#: How many sizes are measured.
SPREAD = 40
#: Times the modules of the tree.
CROWDS = (1, 2, 5)


@dataclass(slots=True)
class Point:
    """One module: what it holds, and what it takes."""

    module: str
    dwarf: int
    types: int
    units: int
    time: Series = field(default_factory=Series)

    def as_json(self) -> dict[str, object]:
        return {
            "module": self.module,
            "dwarf_bytes": self.dwarf,
            "types": self.types,
            "units": self.units,
            "warm": self.time.as_json(),
        }


@dataclass(slots=True)
class Crowd:
    """Many modules in one process."""

    modules: int
    threads: int
    time: Series = field(default_factory=Series)
    peak: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "modules": self.modules,
            "threads": self.threads,
            "process": self.time.as_json(),
            "peak": self.peak,
        }


def _units(module: Path) -> tuple[int, int]:
    """(bytes, CUs) of .debug_info, from the unit lengths alone; both 0 without it."""
    elf = Elf.read(module)
    info = elf.contents(".debug_info") or b""
    at = count = 0
    order = "little" if elf.order == "<" else "big"
    while at + 4 <= len(info):
        length = int.from_bytes(info[at : at + 4], order)  # type: ignore[arg-type]
        at += 4 + length
        count += 1
    return len(info), count


def points(tree: KernelTree, warm: Warm, work: Path, runs: int) -> list[Point]:
    """Modules from the smallest to the largest."""
    paths = sorted((tree.root / m for m in tree.modules()), key=lambda p: p.stat().st_size)
    step = max(1, len(paths) // SPREAD)
    found = []
    for path in [*paths[::step], paths[-1]]:
        dwarf, units = _units(path)
        if not units:
            continue
        point = Point(path.stem, dwarf, warm.types(path), units)
        for _ in range(runs):
            warm.run(path, work, point.time)
        found.append(point)
    return found


def crowds(tree: KernelTree, work: Path, jobs: int) -> list[Crowd]:
    """The tree's modules once and again."""
    names = [m for m in tree.modules() if (tree.root / m).exists()]
    found = []
    for times in CROWDS:
        place = work / f"times{times}"
        files = []
        for copy in range(times):
            folder = place / str(copy)
            folder.mkdir(parents=True)
            for name in names:
                file = folder / Path(name).name
                _link(tree.root / name, file)
                files.append(str(file))
        (place / "list").write_text("\n".join(files))
        for threads in sorted({1, jobs}):
            crowd = Crowd(len(files), threads)
            command = [sys.executable, "-m", "btfd", "encode", "--base", str(tree.vmlinux)]
            command += ["--btf-features", KBUILD_FEATURES, "--lang-exclude=rust", f"-j{threads}"]
            command += ["--detached", str(place / "out") + "/", *files]
            crowd.peak = peak_of(command, crowd.time)
            found.append(crowd)
    return found


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        target.symlink_to(source)


def table(found: list[Crowd]) -> Iterator[list[str]]:
    """Head and lines, cell by cell."""
    yield ["modules in one process", "threads", "s", "ms a module", "peak MB"]
    for one in found:
        seconds = one.time.median / 1000
        each = one.time.median / one.modules
        peak = f"{one.peak / 1e6:.0f}"
        yield [str(one.modules), str(one.threads), f"{seconds:.2f}", f"{each:.2f}", peak]
