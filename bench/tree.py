"""A whole tree through the daemon: cold, with other bases, the same base, and one quiet edit.

The tree is copied (modules and what kbuild says, vmlinux without its DWARF), to memory where that
is possible; nothing is written into the one that is named. Every module's BTF is compared with
pahole's, byte by byte and where that differs type by type, over the old base and over the new.
Cost: pahole takes most of it, a minute for 1,100 modules on two CPUs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from bench.measure import CannotMeasure, Series, process
from bench.modules import check_equal
from bench.pahole import Pahole
from bench.service import ENCODER, Service, is_a
from btfd import _core
from btfd.daemon import BASE_SETTLE
from btfd.schedule import SETTLE
from tests.kernel.tree import KernelTree
from tests.support.btf import load, with_grown

#: Of the quiet edit.
LINKS = 100
#: Modules know it by name, from what they include of others; none defines it.
DECLARED = "audit_context"


@dataclass(slots=True)
class TreeResult:
    """What was measured of the whole tree; times in milliseconds, sizes in bytes."""

    modules: int
    pahole: Series = field(default_factory=Series)
    cold: Series = field(default_factory=Series)
    rebase: Series = field(default_factory=Series)
    grown: Series = field(default_factory=Series)
    same: Series = field(default_factory=Series)
    quiet: list[float] = field(default_factory=list)
    memory_base: int = 0
    memory_all: int = 0
    compared: int = 0
    equal: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "modules": self.modules,
            "modules_compared": self.compared,
            "modules_equal": self.equal,
            "pahole": self.pahole.as_json(),
            "cold": self.cold.as_json(),
            "base_changed": self.rebase.as_json(),
            "base_grown": self.grown.as_json(),
            "base_same": self.same.as_json(),
            "quiet_median_ms": round(median(self.quiet), 3),
            "quiet_p99_ms": round(quantiles(self.quiet, n=100)[98], 3),
            "memory_base": self.memory_base,
            "memory_all": self.memory_all,
        }

    def table(self) -> Iterator[list[str]]:
        """Head and lines, cell by cell."""
        theirs = self.pahole.median
        yield ["work", "pahole ms", "btfd ms", "ratio"]
        for name, series in (
            (f"{self.modules} modules cold, installed", self.cold),
            ("base with other ids, all installed again", self.rebase),
            ("a declared struct grew, all looked at", self.grown),
            ("vmlinux relinked with the same .BTF", self.same),
        ):
            yield [name, self.pahole.cell(), series.cell(), f"{theirs / series.median:.0f}x"]
        p99 = quantiles(self.quiet, n=100)[98]
        yield ["close to .BTF, median / p99", "-", f"{median(self.quiet):.1f} / {p99:.1f}", "-"]
        yield ["resident, base only", "-", f"{self.memory_base / 1e6:.0f} MB", "-"]
        yield ["pahole's types, over both bases", "-", f"{self.equal} of {self.compared}", "-"]
        yield ["resident, all modules", "-", f"{self.memory_all / 1e6:.0f} MB", "-"]


class Workbench:
    """A copy of the tree that may be written to, and the pristine links beside it."""

    def __init__(self, tree: KernelTree, work: Path) -> None:
        self.modules = [m for m in tree.modules() if (tree.root / m).exists()]
        self.links, self.root = tree.root, work / "tree"
        shutil.copytree(tree.root / "include", self.root / "include")
        shutil.copyfile(tree.root / "modules.order", self.root / "modules.order")
        _strip(tree.vmlinux, self.root / "vmlinux")
        self.other = work / "vmlinux.other"
        self.grown = work / "vmlinux.grown"
        _change(self.root / "vmlinux", self.other, lambda btf: _core.sort_by_name([], btf))
        _change(self.root / "vmlinux", self.grown, lambda btf: with_grown(btf, DECLARED))

    def relink(self) -> None:
        """Every module as the linker left it."""
        for name in self.modules:
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(self.links / name, target)

    def replace_base(self, new: Path) -> float:
        """vmlinux as a link of `new`, by rename. When that was."""
        beside = self.root / ".vmlinux.new"
        shutil.copyfile(new, beside)
        beside.rename(self.root / "vmlinux")
        return time.time()

    def stamps(self) -> list[tuple[int, int, int]]:
        found = [os.stat(self.root / name) for name in self.modules]
        return [(s.st_ino, s.st_mtime_ns, s.st_size) for s in found]


def _strip(vmlinux: Path, target: Path) -> None:
    subprocess.run(["objcopy", "--strip-debug", vmlinux, target], check=True)


def _change(vmlinux: Path, target: Path, change: Callable[[bytes], bytes]) -> None:
    """A vmlinux with other types."""
    with tempfile.NamedTemporaryFile(dir=target.parent) as btf:
        btf.write(change(_core.read_btf(vmlinux)))
        btf.flush()
        section = f".BTF={btf.name}"
        subprocess.run(["objcopy", "--update-section", section, vmlinux, target], check=True)


def measure(tree: KernelTree, pahole: Pahole, work: Path, runs: int, jobs: int) -> TreeResult:
    """All of it. `runs`: of the cold and the rebase row; pahole runs twice, once over each base."""
    bench = Workbench(tree, work)
    result = TreeResult(len(bench.modules))
    reference = work / "reference"
    first = bench.root / "vmlinux"
    _pahole(pahole, bench, first, reference / "first", jobs, result.pahole)
    _pahole(pahole, bench, bench.other, reference / "other", jobs, result.pahole)
    original = work / "vmlinux.first"
    shutil.copyfile(first, original)

    for _ in range(runs):
        bench.relink()
        command = [sys.executable, "-m", "btfd", "watch", str(bench.root), "--once", f"-j{jobs}"]
        with tempfile.TemporaryDirectory(dir=work) as cache:
            process(command, result.cold, {"XDG_CACHE_HOME": cache, **ENCODER})
    _compare(bench, original, reference / "first", pahole, result)

    with tempfile.TemporaryDirectory(dir=work) as cache:
        _follow(bench, result, original, Path(cache), runs, jobs)
    _compare(bench, bench.other, reference / "other", pahole, result)
    result.memory_base = _base_only(bench, work, jobs)
    return result


def _follow(
    bench: Workbench, result: TreeResult, original: Path, cache: Path, runs: int, jobs: int
) -> None:
    with Service(bench.root, cache, jobs) as service:
        service.until_modules(result.modules)
        for _ in range(runs):
            for base in (bench.other, original):
                cpu, start = service.cpu(), bench.replace_base(base)
                last = service.until_modules(result.modules)
                took = last["time"] - start - BASE_SETTLE
                result.rebase.add(took, service.cpu() - cpu)
        _grow(bench, service, result, original, runs)
        for _ in range(runs):
            before, cpu, start = bench.stamps(), service.cpu(), bench.replace_base(original)
            event = service.until(is_a("base-same"))
            # The settling is counted from the event, a little earlier than here.
            took = max(event["time"] - start - BASE_SETTLE, 1e-3)
            result.same.add(took, service.cpu() - cpu)
            if bench.stamps() != before:
                raise CannotMeasure("a module was written although the base's .BTF is the same")
        _edit_quietly(bench, service, result)
        result.memory_all = service.memory()
        bench.replace_base(bench.other)
        service.until_modules(result.modules)


def _grow(
    bench: Workbench, service: Service, result: TreeResult, original: Path, runs: int
) -> None:
    """A base with the same ids in which one struct is larger, and back: the BTF has to stay."""
    before = [_core.read_btf(bench.root / name) for name in bench.modules]
    for _ in range(runs):
        for base in (bench.grown, original):
            cpu, start = service.cpu(), bench.replace_base(base)
            took = service.until_modules(result.modules)["time"] - start - BASE_SETTLE
            result.grown.add(took, service.cpu() - cpu)
            if [_core.read_btf(bench.root / name) for name in bench.modules] != before:
                raise CannotMeasure(f"a module's BTF changed that only declares {DECLARED}")


def _edit_quietly(bench: Workbench, service: Service, result: TreeResult) -> None:
    """Links of one small module, each when all is quiet: close to BTF, less the settling."""
    name = next((m for m in bench.modules if m.endswith("/af_key.ko")), bench.modules[0])
    data = (bench.links / name).read_bytes()
    for _ in range(LINKS):
        target = bench.root / name
        target.unlink()
        with target.open("wb") as file:
            file.write(data)
        start = time.time()
        done = service.until_modules(1)
        result.quiet.append((done["time"] - start - SETTLE) * 1000)


def _base_only(bench: Workbench, work: Path, jobs: int) -> int:
    """Resident bytes of a daemon that has loaded the base for one module."""
    lone = work / "lone"
    name = bench.modules[0]
    shutil.copytree(bench.root / "include", lone / "include")
    (lone / "modules.order").write_text(name + "\n")
    (lone / name).parent.mkdir(parents=True)
    shutil.copyfile(bench.links / name, lone / name)
    os.link(bench.root / "vmlinux", lone / "vmlinux")
    with tempfile.TemporaryDirectory(dir=work) as cache, Service(lone, Path(cache), jobs) as one:
        one.until_modules(1)
        return one.memory()


def _pahole(
    pahole: Pahole, bench: Workbench, base: Path, results: Path, jobs: int, series: Series
) -> None:
    """pahole on every module, `jobs` at once; what it wrote stays in `results`."""

    def one(name: str) -> None:
        work = results / name
        work.mkdir(parents=True)
        pahole.run(base, bench.links / name, work)

    start, before = time.perf_counter(), os.times()
    with ThreadPoolExecutor(jobs) as pool:
        for _ in pool.map(one, bench.modules):
            pass
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    series.add(time.perf_counter() - start, used)


def _compare(
    bench: Workbench, vmlinux: Path, results: Path, pahole: Pahole, result: TreeResult
) -> None:
    """Counts the modules that hold pahole's types."""
    base = load(vmlinux)
    for name in bench.modules:
        found = [p for p in (results / name).iterdir() if p.stat().st_size]
        if not found:
            continue
        theirs, ours = load(found[0], base), load(bench.root / name, base)
        result.equal += check_equal(name, theirs, ours, pahole)
        result.compared += 1
