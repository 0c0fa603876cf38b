"""What a newer vmlinux costs a build: the BTF step of every module, four ways.

    python -m bench.kbuild TREE [--runs N] [-j N] [--json]

The experiment of the patch that brought BTF to modules: vmlinux is newer, so every module gets BTF
again. Ways:

    pahole      the recipe of Linux 6.1 with $PAHOLE: encode, then resolve_btfids
    alone       the same with btfd-pahole, and no daemon
    daemon      the same with btfd-pahole, and `btfd run`
    watch-all   `btfd watch --once`, which knows none of the modules
    watch       `btfd watch --once`, which knows them: the BTF of vmlinux is the same as before

TREE is the O= directory of a Linux up to 6.12 that is built. Its modules are written. The recipe's
commands are run without make, N at a time: make's own second or ten say nothing about BTF. A tree
without resolve_btfids (a distribution's, with debug information) is measured without that command.
Ways alternate; medians of wall and processor time, the daemon's included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from bench.__main__ import aligned, machine
from bench.measure import CannotMeasure
from tests.kbuild.kernel import PROGRAM, Kernel, daemon
from tests.support.run import run

TICK = os.sysconf("SC_CLK_TCK")
#: As Linux 6.1 passes them to a pahole since 1.25.
FLAGS = (
    *("-J", "--btf_gen_floats", "-j", "--lang_exclude=rust"),
    *("--skip_encoding_btf_inconsistent_proto", "--btf_gen_optimized"),
)
RESOLVER = "tools/bpf/resolve_btfids/resolve_btfids"


def cpu_of(process: int) -> float:
    """Processor seconds that a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Ways:
    """Each way gives wall and processor seconds of one run."""

    def __init__(self, kernel: Kernel, work: Path, pahole: str, env: dict[str, str], pid: int):
        self.kernel = kernel
        self.work = work
        self.reference = pahole
        self.env = env
        self.pid = pid
        self.modules = kernel.modules()
        self.resolves = (kernel.tree / RESOLVER).exists()

    def step(self, pahole: str | Path, env: Mapping[str, str]) -> tuple[float, float]:
        """The recipe's two commands for every module."""
        kbuild = {"LLVM_OBJCOPY": "objcopy", "RESOLVE_BTFIDS": RESOLVER, "MAKELEVEL": "1"}
        there = {**os.environ, **kbuild, **env}
        recipe = [[str(pahole), *FLAGS, "--btf_base", "vmlinux"]]
        if self.resolves:
            recipe.append([RESOLVER, "-b", "vmlinux"])

        def one(module: str) -> None:
            for command in ([*words, module] for words in recipe):
                done = subprocess.run(
                    command, cwd=self.kernel.tree, env=there, capture_output=True, check=False
                )
                if done.returncode:
                    said = done.stderr.decode(errors="replace")[-300:]
                    raise CannotMeasure(f"{module}: {command[0]} failed: {said}")

        before, started = cpu_of_children(), time.perf_counter()
        with ThreadPoolExecutor(self.kernel.jobs) as pool:
            list(pool.map(one, self.modules))
        return time.perf_counter() - started, cpu_of_children() - before

    def pahole(self) -> tuple[float, float]:
        return self.step(self.reference, {})

    def alone(self) -> tuple[float, float]:
        return self.step(PROGRAM, {"BTFD_SOCKET": "none"})

    def daemon(self) -> tuple[float, float]:
        before = cpu_of(self.pid)
        wall, cpu = self.step(PROGRAM, self.env)
        return wall, cpu + cpu_of(self.pid) - before

    def watched(self, known: bool) -> tuple[float, float]:
        place = self.work / "watch"
        place.mkdir(exist_ok=True)
        if not known:
            for name in [p for p in place.rglob("*") if p.is_file()]:
                name.unlink()
        os.utime(self.kernel.tree / "vmlinux")
        env = {"XDG_CACHE_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
        before, started = cpu_of_children(), time.perf_counter()
        verb = (sys.executable, "-m", "btfd", "watch", "--once", "--use", "watcher")
        done = run(*verb, self.kernel.tree, env=env)
        if done.returncode:
            raise CannotMeasure(f"btfd watch failed: {done.stderr[-300:]}")
        return time.perf_counter() - started, cpu_of_children() - before

    def watch_all(self) -> tuple[float, float]:
        return self.watched(False)

    def watch(self) -> tuple[float, float]:
        return self.watched(True)

    def each(self) -> dict[str, Callable[[], tuple[float, float]]]:
        return {
            "pahole": self.pahole,
            "alone": self.alone,
            "daemon": self.daemon,
            "watch-all": self.watch_all,
            "watch": self.watch,
        }


def measure(ways: Ways, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Runs of each way, in turns, after one that warms the daemon and the page cache."""
    ways.daemon()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways.each()}
    for _ in range(runs):
        for name, way in ways.each().items():
            found[name].append(way())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-j", type=int, default=os.cpu_count(), dest="jobs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reference = os.environ.get("PAHOLE", "pahole")
    kernel = Kernel(options.tree.resolve(), options.jobs)
    try:
        if kernel.relinks:
            raise CannotMeasure(f"Linux {kernel.release()} has another recipe")
        with tempfile.TemporaryDirectory(prefix="btfd-bench-") as folder:
            work = Path(folder)
            with daemon(work / "daemon") as (env, process):
                found = measure(Ways(kernel, work, reference, env, process.pid), options.runs)
    except (CannotMeasure, AssertionError, OSError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    modules = len(kernel.modules())
    rows = [["", "wall s", "cpu s", "cpu ms a module", "less cpu"]]
    result = {}
    for name, runs in found.items():
        wall, cpu = (median(column) for column in zip(*runs, strict=True))
        result[name] = {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}
        times = result["pahole"]["cpu_s"] / cpu if cpu else 0.0
        each = cpu / modules * 1000
        rows.append([name, f"{wall:.2f}", f"{cpu:.2f}", f"{each:.1f}", f"{times:.1f}x"])
    if options.json:
        print(json.dumps({"machine": machine(), "modules": modules, "ways": result}))
    else:
        print(f"Linux {kernel.release()}, {modules} modules, -j{options.jobs}, {machine()}")
        print("\n".join(aligned(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
