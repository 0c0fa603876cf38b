"""Timing one module's way to BTF: by a process, in this process, and by reading alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.support.elf import Elf

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

    def as_json(self) -> dict[str, float]:
        return {
            "median_ms": round(self.median, 3),
            "min_ms": round(min(self.wall), 3),
            "max_ms": round(max(self.wall), 3),
            "cpu_median_ms": round(median(self.cpu), 3),
            "runs": len(self.wall),
        }


def process(command: list[str], series: Series | None = None) -> None:
    """Runs a program to its end and adds what it took, children included."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
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

    def run(self, module: Path, work: Path, series: Series | None = None) -> bytes:
        copy = work / "warm.ko"
        shutil.copyfile(module, copy)
        start, cpu = time.perf_counter(), time.process_time()
        made = self.core.encode(copy, self.base, self.features, lang_exclude=["rust"], threads=1)
        self.core.install(copy, made.btf, made.stamp)
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        if series is not None:
            series.add(wall, used)
        copy.unlink()
        return made.btf
