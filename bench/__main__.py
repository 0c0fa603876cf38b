"""pahole and btfd side by side.

    python -m bench [TREE] [--part PART]... [--module NAME]... [--runs N] [--json] [--plot FILE]

Parts, all of them where none is named:

    modules   the time that a pahole process takes, that a btfd process takes, and that the daemon
              takes (base loaded, one thread, encode and install), with the time that only reading
              the debug sections takes
    relink    a large module of which one unit was edited, where the daemon remembers the others
    tree      every module through the daemon: cold, with another base, with the same base again;
              a quiet edit from its close to its BTF; memory
    vmlinux   from DWARF
    growth    cost over the size of a module and over the number of modules

Runs alternate, after one that warms the page cache; medians with (least-most). A time counts only
with pahole's types: a difference ends the run. TREE is a kernel build tree; without it $TREE, or
the one that the tests keep. $PAHOLE names the pahole. Modules are copied, the tree is only read.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import btfd
from bench import growth, modules, plot, relink, tree, vmlinux
from bench.measure import CannotMeasure, Warm
from bench.pahole import Pahole
from tests.kernel.tree import KernelTree, NoTree, present
from tests.support.btf import load
from tests.support.run import KBUILD_FEATURES

PARTS = ("modules", "relink", "tree", "vmlinux", "growth")


def find_tree(named: str | None) -> KernelTree:
    named = named or os.environ.get("TREE")
    if named:
        root = Path(named).resolve()
        if not (root / "vmlinux").exists():
            raise CannotMeasure(f"{root} has no vmlinux")
        return KernelTree(root)
    try:
        found = present()
    except NoTree as error:
        raise CannotMeasure(str(error)) from None
    if found is None:
        raise CannotMeasure("no kernel tree: name one, or get one: python -m tests.kernel.tree")
    return found


def aligned(cells: Iterable[list[str]]) -> Iterator[str]:
    """Lines of a table, the first column to the left."""
    lines = list(cells)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (text.rjust(width) for text, width in zip(line, widths, strict=True))
        yield "  ".join([first.strip().ljust(widths[0]), *rest]).rstrip()


def machine() -> str:
    """Processor, number of them, and how busy they are."""
    text = Path("/proc/cpuinfo").read_text()
    model = next((s.split(":", 1)[1].strip() for s in text.splitlines() if "model name" in s), "")
    return f"{model or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"


class Bench:
    """One run over one tree: prints as it goes, keeps everything for --json."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tree = find_tree(options.tree)
        self.pahole = Pahole.find()
        self.jobs = len(os.sched_getaffinity(0))
        self.found: dict[str, Any] = {
            "machine": machine(),
            "pahole": {
                "program": self.pahole.program,
                "version": self.pahole.version,
                "how": self.pahole.how,
            },
        }

    def say(self, lines: Iterable[str]) -> None:
        if not self.options.json:
            print("\n".join(lines), flush=True)

    def run(self, work: Path) -> None:
        warm = Warm(self.tree.vmlinux, KBUILD_FEATURES.split(","))
        self.found["base_load_ms"] = round(warm.load_ms, 1)
        self.say(
            [
                f"{machine()}; {self.options.runs} runs; medians (least-most)",
                f"pahole {self.pahole.version}: {self.pahole.how}",
                f"btfd loads the base in {warm.load_ms:.0f} ms, once; warm is without that",
                "read ms: only reading the four debug sections, the least that any encoder takes",
            ]
        )
        for part in self.options.part or PARTS:
            self.say([""])
            place = work / part
            place.mkdir()
            match part:
                case "modules":
                    self.modules(warm, place)
                case "relink":
                    self.relink(warm, place)
                case "tree":
                    result = tree.measure(
                        self.tree, self.pahole, place, self.options.runs, self.jobs
                    )
                    self.found["tree"] = result.as_json()
                    self.say(aligned(result.table()))
                case "vmlinux":
                    rows = vmlinux.measure(
                        self.tree, self.pahole, place, min(self.options.runs, 3), self.jobs
                    )
                    self.found["vmlinux"] = [row.as_json() for row in rows]
                    self.say(aligned(vmlinux.table(rows)))
                case _:
                    self.growth(warm, place)

    def modules(self, warm: Warm, work: Path) -> None:
        base = load(self.tree.vmlinux)
        rows, why = [], None
        for name in self.options.module or modules.MODULES:
            row, because = modules.measure(
                self.tree, name, self.pahole, warm, base, work, self.options.runs
            )
            rows.append(row)
            why = why or because
        self.found["not_comparable"] = why
        self.found["modules"] = [row.as_json(why is None) for row in rows]
        if why:
            self.say([f"pahole {self.pahole.version}: {why}"])
        self.say(aligned(modules.table(rows, why is None)))

    def relink(self, warm: Warm, work: Path) -> None:
        base = load(self.tree.vmlinux)
        rows = [
            relink.measure(self.tree, name, self.pahole, warm, base, work, self.options.runs)
            for name in self.options.module or relink.MODULES
        ]
        self.found["relink"] = [row.as_json() for row in rows]
        self.say(aligned(relink.table(rows)))

    def growth(self, warm: Warm, work: Path) -> None:
        points = growth.points(self.tree, warm, work, self.options.runs)
        crowds = growth.crowds(self.tree, work, self.jobs)
        self.found["growth"] = {
            "points": [point.as_json() for point in points],
            "crowds": [crowd.as_json() for crowd in crowds],
        }
        self.say(aligned(growth.table(crowds)))
        if self.options.plot:
            for file in plot.growth(points, crowds, Path(self.options.plot)):
                self.say([f"plot: {file}"])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tree", nargs="?", metavar="TREE")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--module", action="append", metavar="NAME")
    parser.add_argument("--runs", type=int, default=7, metavar="N")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE", help="write FILE.svg and FILE.png")
    # An installed btfd has its bytecode, and so has one that ran before.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(btfd.__file__).parent, quiet=1)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        bench = Bench(options := parser.parse_args())
        with tempfile.TemporaryDirectory(prefix="btfd-bench-", dir=memory) as work:
            bench.run(Path(work))
        if options.json:
            print(json.dumps(bench.found, indent=1))
    except (CannotMeasure, StopIteration) as error:
        print(f"bench: {error or 'the tree has no such module'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
