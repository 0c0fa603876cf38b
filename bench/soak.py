"""A service at work for a long time: does its memory stay flat, is nothing stale at the end?

    python -m bench.soak TREE [--minutes 30] [--csv FILE]

TREE is a real build tree with BTF in its vmlinux; it is changed, so give a copy. At random: modules
are linked again (with the linker, from their objects, where those are there), some in a row; a
directory of thousands of files is written and removed, as checkouts and clean do; a directory of
modules goes and comes back; vmlinux is linked again with the same BTF, or with another. Every ten
seconds a line: resident memory, CPU, what was encoded and lost. Every 90 seconds all is brought to
one and the same state, and what the service holds then is what counts (`bench.flat`). At the end it
must have nothing left to do, `btfd check` must find nothing, and a quiet minute tells the idle CPU.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.flat import Meter, Rest, table, verdict
from btfd import journal, memory
from tests.faults.service import Service
from tests.faults.tree import Tree, make_parts
from tests.support.elf import Elf

#: Seconds from line to line.
EVERY = 10.0
#: Seconds from rest to rest.
REST_EVERY = 90.0
HEADER = ("seconds", "resident_kib", "cpu_ms", "encoded", "failed", "lost", "bases")


class Soak:
    """One tree and what is done to it."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self.chance = random.Random(7)
        self.done: dict[str, int] = {}
        (scratch / "parts").mkdir()
        self.small = Tree(root, make_parts(scratch / "parts"))
        listed = [Path(line) for line in (root / "modules.order").read_text().split()]
        self.modules = [str(m.with_suffix(".ko")) for m in listed]
        if len(self.modules) < memory.BURST:
            raise SystemExit(f"{len(self.modules)} modules are no burst (`btfd.memory`): {root}")
        self.pristine = scratch / "pristine"
        for module in self.modules:
            copy = self.pristine / module
            copy.parent.mkdir(parents=True, exist_ok=True)
            command = ["objcopy", "--remove-section=.BTF", str(root / module), str(copy)]
            subprocess.run(command, check=True)
        self.images = [scratch / "vmlinux.0", scratch / "vmlinux.1"]
        shutil.copyfile(root / "vmlinux", self.images[0])
        self.images[1].write_bytes(_with_another_name(self.images[0].read_bytes()))

    def act(self) -> None:
        """One thing, at random."""
        actions = [(self.link, 40), (self.link_many, 8), (self.edit, 20), (self.checkout, 3)]
        actions += [(self.away, 3), (self.same_base, 2), (self.other_base, 2)]
        (action,) = self.chance.choices([a for a, _ in actions], [w for _, w in actions])
        self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
        action()

    def link(self, module: str | None = None) -> None:
        module = module or self.chance.choice(self.modules)
        path = self.root / module
        stem = path.with_suffix("")
        objects = [Path(f"{stem}.o"), Path(f"{stem}.mod.o")]
        path.unlink(missing_ok=True)
        if all(o.exists() for o in objects):
            command = ["ld", "-r", "--build-id=sha1", "-o", str(path), *map(str, objects)]
            subprocess.run(command, check=True)
        else:
            shutil.copyfile(self.pristine / module, path)

    def link_many(self) -> None:
        for _ in range(self.chance.randrange(5, 40)):
            self.link()

    def edit(self) -> None:
        """A module whose types change, and mostly back."""
        module = self.chance.choice(self.modules)
        path = self.root / module
        path.unlink(missing_ok=True)
        path.write_bytes(self.chance.choice(self.small.parts.modules))
        if self.chance.random() < 0.7:
            time.sleep(self.chance.random() / 5)
            self.link(module)

    def checkout(self) -> None:
        folder = self.root / "soak-sources"
        for n in range(5000):
            place = folder / f"s{n // 50}"
            if n % 50 == 0:
                place.mkdir(parents=True, exist_ok=True)
            path = place / f"{n}.c"
            path.unlink(missing_ok=True)
            path.write_text(str(self.chance.random()))
        if self.chance.random() < 0.5:
            shutil.rmtree(folder)

    def away(self) -> None:
        folder = (self.root / self.chance.choice(self.modules)).parent
        elsewhere = self.root.with_name(self.root.name + ".away")
        folder.rename(elsewhere)
        time.sleep(self.chance.random())
        elsewhere.rename(folder)

    def settle(self, service: Service) -> None:
        """The one state in which rests are compared: the first base, every module as linked.

        All modules come at once, so that they are one burst for the service, after which it gives
        back what is free.
        """
        shutil.rmtree(self.root / "soak-sources", ignore_errors=True)
        if not self._holds(0):
            self._base(self.images[0])
        service.wait_right()
        self._replace_all(self.pristine / module for module in self.modules)
        service.wait_right()
        time.sleep(memory.QUIET + 1)

    def fill_history(self, service: Service) -> None:
        """Edits until the service's history has all the events that it keeps."""
        small = self.scratch / "parts/m0.ko"
        while not _is_full(service):
            self._replace_all(small for _ in self.modules)
            service.wait_right()
            self._replace_all(self.pristine / module for module in self.modules)
            service.wait_right()

    def _replace_all(self, links: Iterable[Path]) -> None:
        moves = []
        for module, link in zip(self.modules, links, strict=True):
            path = self.root / module
            beside = path.with_name(f".{path.name}.new")
            shutil.copyfile(link, beside)
            moves.append((beside, path))
        for beside, path in moves:
            beside.rename(path)

    def same_base(self) -> None:
        self._base(self.images[0] if self._holds(0) else self.images[1])

    def other_base(self) -> None:
        self._base(self.images[1] if self._holds(0) else self.images[0])

    def _holds(self, n: int) -> bool:
        return (self.root / "vmlinux").stat().st_mtime_ns % 2 == n

    def _base(self, image: Path) -> None:
        path = self.root / "vmlinux"
        path.unlink(missing_ok=True)
        shutil.copyfile(image, path)
        even = time.time_ns() // 2 * 2 + self.images.index(image)
        os.utime(path, ns=(even, even))


def _with_another_name(image: bytes) -> bytes:
    """The image with one letter of one name in its .BTF changed."""
    elf = Elf(image)
    section = elf.find(".BTF")
    if section is None:
        raise SystemExit("the tree's vmlinux has no .BTF")
    end = section.offset + section.size - 2
    changed = bytearray(image)
    changed[end] = ord("x") if changed[end] != ord("x") else ord("y")
    return bytes(changed)


def _is_full(service: Service) -> bool:
    """Whether the service has said as much as it keeps, and forgets the oldest from now on."""
    events = [dict(event) for event in list(service.events)]
    for event in events:
        for word in ("event", "generation", "time", "path"):
            event.pop(word, None)
    packed = (len(json.dumps(event, separators=(",", ":"))) for event in events)
    size = sum(fields + journal.OVERHEAD for fields in packed)
    return len(events) >= journal.KEEP or size >= journal.LIMIT


def work(
    soak: Soak, service: Service, meter: Meter, arguments: argparse.Namespace
) -> tuple[list[list[int]], list[Rest]]:
    """All of it: a curve of what the service does, and its rests."""
    rows: list[list[int]] = []
    rests: list[Rest] = []
    soak.fill_history(service)
    print("\t".join(HEADER), flush=True)
    started = said = rested = time.monotonic()
    while (now := time.monotonic()) - started < 60 * arguments.minutes:
        if now - rested >= REST_EVERY:
            soak.settle(service)
            rested = time.monotonic()
            rests.append(meter.rest(rested - started, _encoded(service)))
            print("at rest:", rests[-1], flush=True)
        soak.act()
        time.sleep(soak.chance.random() * arguments.pause)
        if now - said >= EVERY:
            said = now
            rows.append(line(service, meter, now - started))
            print("\t".join(map(str, rows[-1])), flush=True)
    soak.settle(service)
    return rows, rests


def line(service: Service, meter: Meter, seconds: float) -> list[int]:
    """One point of the curve, as `HEADER` says."""
    others = [service.count(kind) for kind in ("failed", "lost", "base-changed")]
    used = [meter.resident() >> 10, round(1000 * meter.cpu())]
    return [round(seconds), *used, _encoded(service), *others]


def _encoded(service: Service) -> int:
    return service.count("encoded") + service.count("unchanged")


def thirds(rows: list[list[int]]) -> None:
    """What was resident on the way, and what was done meanwhile."""
    size = len(rows) // 3
    for name, end in (("first", size), ("second", 2 * size), ("last", 3 * size)):
        part = rows[end - size : end]
        if part:
            mean = sum(row[1] for row in part) / len(part) / 1024
            most = max(row[1] for row in part) / 1024
            encoded, bases = (part[-1][n] - part[0][n] for n in (3, 6))
            print(f"{name} third: {mean:.0f} MiB resident in the mean, {most:.0f} at most, "
                  f"{encoded} encodes, {bases} bases", flush=True)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tree", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between actions, at most")
    parser.add_argument("--csv", type=Path, help="what was held at rest goes here")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(arguments.tree.resolve(), scratch)
    service = Service(soak.small, scratch / "state", arguments=("--use", "watcher"))
    try:
        service.wait_ready()
        meter = Meter(service.process.pid)
        rows, rests = work(soak, service, meter, arguments)
        print("actions:", soak.done, flush=True)
        failed = [e for e in service.events if e["event"] == "failed"]
        print("failures:", {(e["path"], e["reason"]) for e in failed}, flush=True)
        idle(meter)
        status = service.stop()
        checked = subprocess.run(
            [sys.executable, "-m", "btfd", "check", "--use", "watcher", str(soak.root)], check=False
        )
        thirds(rows)
        flat, why = verdict(rests)
        print("flat:" if flat else "NOT flat:", why)
        if arguments.csv:
            with open(arguments.csv, "w", newline="") as f:
                csv.writer(f).writerows(table(rests))
        return 0 if flat and status == 0 and checked.returncode == 0 else 1
    finally:
        if service.process.poll() is None:
            service.kill()
        shutil.rmtree(scratch, ignore_errors=True)


def idle(meter: Meter) -> None:
    """What a quiet minute costs."""
    ran, woken, at = meter.ran(), meter.switches(), time.monotonic()
    time.sleep(60)
    quiet = time.monotonic() - at
    print(f"idle: {1000 * (meter.ran() - ran) / quiet:.3f} ms of CPU and "
          f"{(meter.switches() - woken) / quiet:.3f} wake-ups a second", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
