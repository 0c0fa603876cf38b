"""Timing one module's way to BTF: by a process, in this process, and by reading alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.support.elf import Elf

if TYPE_CHECKING:
    from btfd import _core

#: What any encoder has to read.
SECTIONS = (".debug_info", ".debug_abbrev", ".debug_str", ".rela.debug_info")


class CannotMeasure(Exception):
    """What was to be measured does not work; the text says why."""


@dataclass(slots=True)
class Series:
    """Times of repeated runs, in milliseconds: on the clock, and of the processor."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, wall: float, cpu: float) -> None:
        self.wall.append(wall * 1000)
        self.cpu.append(cpu * 1000)

    @property
    def median(self) -> float:
        return median(self.wall)

    def cell(self) -> str:
        """Median, least and most, for a table."""
        return f"{self.median:.1f} ({min(self.wall):.1f}-{max(self.wall):.1f})"

    def as_json(self) -> dict[str, float]:
        return {
            "median_ms": round(self.median, 3),
            "min_ms": round(min(self.wall), 3),
            "max_ms": round(max(self.wall), 3),
            "cpu_median_ms": round(median(self.cpu), 3),
            "runs": len(self.wall),
        }


def process(
    command: list[str], series: Series | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Runs a program to its end and adds what it took, children included."""
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    ) as child:
        assert child.stderr is not None
        told = child.stderr.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise CannotMeasure(f"{command[0]} ended with {child.returncode}: {told.strip()}")
    if series is not None:
        series.add(wall, usage.ru_utime + usage.ru_stime)


def peak_of(command: list[str], series: Series | None = None) -> int:
    """As `process`; returns the most memory that was resident, in bytes.

    Looked at every 10 ms: what wait4 tells of a child counts what its parent had at the fork.
    """
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        start, peak = time.perf_counter(), 0
        status = Path(f"/proc/{child.pid}/status")
        while not (done := os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            peak = max(peak, int((re.findall(r"VmHWM:\s+(\d+)", status.read_text()) or [0])[0]))
            time.sleep(0.01)
        wall = time.perf_counter() - start
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = done.si_status
    if child.returncode:
        raise CannotMeasure(f"{command[0]} ended with {child.returncode}")
    if series is not None:
        series.add(wall, usage.ru_utime + usage.ru_stime)
    return peak * 1024


class Reading:
    """The physical limit: pread of the debug sections into a buffer that is there already."""

    def __init__(self, module: Path) -> None:
        elf = Elf.read(module)
        found = [section for name in SECTIONS if (section := elf.find(name))]
        self.module = module
        self.parts = [(section.offset, section.size) for section in found]
        self.buffer = memoryview(bytearray(max(size for _, size in self.parts)))

    def run(self, series: Series) -> None:
        start, cpu = time.perf_counter(), time.thread_time()
        file = os.open(self.module, os.O_RDONLY)
        try:
            for offset, size in self.parts:
                done = 0
                while done < size:
                    done += os.preadv(file, [self.buffer[done:size]], offset + done)
        finally:
            os.close(file)
        series.add(time.perf_counter() - start, time.thread_time() - cpu)


class Warm:
    """As in the daemon: the base is loaded, one thread encodes and installs into a fresh link."""

    def __init__(self, vmlinux: Path, features: list[str]) -> None:
        from btfd import _core

        self.core = _core
        start = time.perf_counter()
        self.base = _core.Base.load(vmlinux)
        self.load_ms = (time.perf_counter() - start) * 1000
        self.features = features

    def types(self, module: Path) -> int:
        """How many types the module has without a base."""
        made = self.core.encode(module, None, self.features, lang_exclude=["rust"], resolve=False)
        return made.types

    def run(
        self,
        module: Path,
        work: Path,
        series: Series | None = None,
        remembered: _core.Remembered | None = None,
    ) -> _core.Encoded:
        """One module; what its encode made, which may begin with what an earlier one remembers."""
        copy = work / "warm.ko"
        shutil.copyfile(module, copy)
        start, cpu = time.perf_counter(), time.process_time()
        made: _core.Encoded = self.core.encode(
            copy,
            self.base,
            self.features,
            lang_exclude=["rust"],
            threads=1,
            keep=True,
            remembered=remembered,
        )
        self.core.install(copy, made.btf, made.stamp)
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        if series is not None:
            series.add(wall, used)
        copy.unlink()
        return made
