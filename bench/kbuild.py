"""What a newer vmlinux costs a build: the BTF step of every module, four ways.

    python -m bench.kbuild TREE [--runs N] [-j N] [--json]

The experiment of the patch that brought BTF to modules: touch vmlinux, then make modules. Ways:

    pahole      kbuild's step with $PAHOLE
    alone       with btfd-pahole, and no daemon
    daemon      with btfd-pahole, and `btfd run`
    watch       kbuild's step off (cmd_btf_ko=true), `btfd watch --once` after it; where vmlinux has
                the same BTF as before this encodes nothing
    watch-all   the same where the BTF of vmlinux is another: every module is encoded

TREE is the O= directory of a kernel that is built and up to date. Its modules are written. Ways
alternate; of each, medians of wall and processor time beyond a make that has nothing to do, the
daemon's processor time included. Nothing else may use the tree meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.__main__ import aligned, machine
from bench.measure import CannotMeasure
from tests.kbuild.kernel import PROGRAM, Kernel, Log, daemon
from tests.support.run import run

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(process: int) -> float:
    """Processor seconds that a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Ways:
    """Each way gives wall and processor seconds of one run."""

    def __init__(self, kernel: Kernel, work: Path, pahole: str, env: dict[str, str], pid: int):
        self.kernel = kernel
        self.work = work
        self.reference = pahole
        self.env = env
        self.pid = pid

    def make(self, pahole: str | Path, *targets: str, env: dict[str, str] | None = None) -> Log:
        log = self.kernel.make("modules", *targets, pahole=pahole, env=env)
        if log.status:
            raise CannotMeasure(f"make failed:\n{log.text[-1000:]}")
        return log

    def touched(self, pahole: str | Path, env: dict[str, str] | None = None) -> Log:
        os.utime(self.kernel.tree / "vmlinux")
        log = self.make(pahole, env=env)
        encoded, there = len(log.done("BTF")), len(self.kernel.modules())
        if encoded != there:
            raise CannotMeasure(f"{encoded} of {there} modules were encoded")
        return log

    def nothing(self) -> tuple[float, float]:
        log = self.make(PROGRAM)
        return log.wall, log.cpu

    def pahole(self) -> tuple[float, float]:
        log = self.touched(self.reference)
        return log.wall, log.cpu

    def alone(self) -> tuple[float, float]:
        log = self.touched(PROGRAM)
        return log.wall, log.cpu

    def daemon(self) -> tuple[float, float]:
        before = cpu_of(self.pid)
        log = self.touched(PROGRAM, self.env)
        if log.encoded_by("the daemon") < len(self.kernel.modules()) * 0.9:
            raise CannotMeasure("the daemon did not serve")
        return log.wall, log.cpu + cpu_of(self.pid) - before

    def watched(self, fresh: bool) -> tuple[float, float]:
        cache = self.work / "watch"
        cache.mkdir(exist_ok=True)
        place = {"XDG_CACHE_HOME": str(cache), "XDG_CONFIG_HOME": str(cache)}
        if fresh:
            for name in cache.rglob("*.sqlite*"):
                name.unlink()
        os.utime(self.kernel.tree / "vmlinux")
        log = self.make(PROGRAM, "cmd_btf_ko=true")
        before = os.times()
        started = time.perf_counter()
        verb = (sys.executable, "-m", "btfd", "watch", "--once", "--use", "watcher")
        done = run(*verb, self.kernel.tree, env=place)
        wall = time.perf_counter() - started
        after = os.times()
        if done.returncode:
            raise CannotMeasure(f"btfd watch failed: {done.stderr[-500:]}")
        cpu = sum(after[2:4]) - sum(before[2:4])
        return log.wall + wall, log.cpu + cpu

    def watch(self) -> tuple[float, float]:
        return self.watched(False)

    def watch_all(self) -> tuple[float, float]:
        return self.watched(True)


def measure(ways: Ways, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Runs of each way, in turns; `nothing` is a make without anything to do."""
    order: dict[str, Callable[[], tuple[float, float]]] = {
        "pahole": ways.pahole,
        "alone": ways.alone,
        "daemon": ways.daemon,
        "watch-all": ways.watch_all,
        "watch": ways.watch,
        "nothing": ways.nothing,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in order}
    # The first makes sync the configuration with the other PAHOLE; they are not counted.
    ways.alone()
    for _ in range(runs):
        for name, way in order.items():
            if name == "pahole":
                ways.make(ways.reference)
            elif name == "alone":
                ways.make(PROGRAM)
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
        with tempfile.TemporaryDirectory(prefix="btfd-bench-") as folder:
            work = Path(folder)
            with daemon(work / "daemon") as (env, process):
                found = measure(Ways(kernel, work, reference, env, process.pid), options.runs)
    except (CannotMeasure, AssertionError, OSError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    empty = [median(column) for column in zip(*found["nothing"], strict=True)]
    modules = len(kernel.modules())
    rows = [["", "wall s", "cpu s", "wall beyond", "cpu beyond", "ms a module"]]
    result = {}
    for name, runs in found.items():
        wall, cpu = (median(column) for column in zip(*runs, strict=True))
        more = (max(0.0, wall - empty[0]), max(0.0, cpu - empty[1]))
        result[name] = {"wall": wall, "cpu": cpu, "wall_beyond": more[0], "cpu_beyond": more[1]}
        each = more[1] / modules * 1000
        cells = [f"{wall:.2f}", f"{cpu:.2f}", f"{more[0]:.2f}", f"{more[1]:.2f}", f"{each:.2f}"]
        rows.append([name, *cells])
    if options.json:
        print(json.dumps({"machine": machine(), "modules": modules, "ways": result}))
    else:
        print(f"Linux {kernel.release()}, {modules} modules, -j{options.jobs}, {machine()}")
        print("\n".join(aligned(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
