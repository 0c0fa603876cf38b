"""pahole and btfd side by side.

    python -m bench [TREE] [--module NAME]... [--runs N] [--json]

For each module: the time that a pahole process takes, that a btfd process takes, and that
the daemon takes (base loaded, one thread, encode and install), with the time that only reading the
debug sections takes. Runs alternate, after one that warms the page cache; medians with
(least-most). TREE is a kernel build tree; without it $TREE, or the one that the tests
keep. $PAHOLE names the pahole. Modules are copied, the tree is only read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import CannotMeasure, Reading, Series, Warm, process
from bench.pahole import Pahole, why_not_comparable
from tests.kernel.tree import KernelTree, NoTree, present
from tests.support.btf import Btf, load
from tests.support.run import KBUILD_FEATURES

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


def size_of(btf: Btf) -> int:
    """Bytes of BTF, with the shortest header whichever it has."""
    return 24 + len(btf.type_bytes) + len(btf.strings)


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
    if warm.run(module, work) != detached.read_bytes():
        raise CannotMeasure(f"{name}: process and core made different BTF")
    row.types = len(theirs), len(ours)
    row.bytes = (size_of(theirs), size_of(ours))

    for _ in range(runs):
        pahole.run(tree.vmlinux, module, work, row.pahole)
        process(command, row.process)
        warm.run(module, work, row.warm)
        reading.run(row.limit)
    module.unlink()
    return row, why


def cell(series: Series) -> str:
    return f"{series.median:.1f} ({min(series.wall):.1f}-{max(series.wall):.1f})"


def table(rows: list[Row], comparable: bool) -> Iterator[str]:
    head = ["module", "pahole ms", "btfd process ms", "ratio", "btfd warm ms", "ratio", "read ms"]
    head += ["types pahole/btfd", "bytes pahole/btfd"] if comparable else ["types", "bytes"]
    lines = [head]
    for row in rows:
        by_process, by_warm = row.ratios()
        line = [row.module, cell(row.pahole), cell(row.process), f"{by_process:.1f}x"]
        line += [cell(row.warm), f"{by_warm:.1f}x", cell(row.limit)]
        for theirs, ours in (row.types, row.bytes):
            line.append(f"{theirs}/{ours}" if comparable else str(ours))
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (text.rjust(width) for text, width in zip(line, widths, strict=True))
        yield "  ".join([first.strip().ljust(widths[0]), *rest])


def machine() -> str:
    """Processor, number of them, and how busy they are."""
    text = Path("/proc/cpuinfo").read_text()
    model = next((s.split(":", 1)[1].strip() for s in text.splitlines() if "model name" in s), "")
    return f"{model or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"


def bench(options: argparse.Namespace) -> None:
    tree = find_tree(options.tree)
    pahole = Pahole.find()
    warm = Warm(tree.vmlinux, KBUILD_FEATURES.split(","))
    base = load(tree.vmlinux)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    rows, why = [], None
    with tempfile.TemporaryDirectory(prefix="btfd-bench-", dir=memory) as work:
        for name in options.module or MODULES:
            if sys.stderr.isatty():
                print(f"measuring {name} ", end="\r", file=sys.stderr)
            row, because = measure(tree, name, pahole, warm, base, Path(work), options.runs)
            rows.append(row)
            why = why or because
    if options.json:
        found = {
            "machine": machine(),
            "pahole": {"program": pahole.program, "version": pahole.version, "how": pahole.how},
            "not_comparable": why,
            "base_load_ms": round(warm.load_ms, 1),
            "modules": [row.as_json(why is None) for row in rows],
        }
        print(json.dumps(found, indent=1))
        return
    print(f"{machine()}; {options.runs} runs; medians (least-most)")
    print(f"pahole {pahole.version}: {pahole.how}")
    if why:
        print(f"pahole {pahole.version}: {why}")
    print(f"btfd loads the base in {warm.load_ms:.0f} ms, once; warm is without that")
    print("read ms: only reading the four debug sections, the least that any encoder takes")
    print()
    print("\n".join(table(rows, why is None)))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tree", nargs="?", metavar="TREE")
    parser.add_argument("--module", action="append", metavar="NAME")
    parser.add_argument("--runs", type=int, default=7, metavar="N")
    parser.add_argument("--json", action="store_true")
    try:
        bench(parser.parse_args())
    except (CannotMeasure, StopIteration) as error:
        print(f"bench: {error or 'the tree has no such module'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
