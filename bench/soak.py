"""A service at work for a long time: does its memory stay flat, is nothing stale at the end?

    python -m bench.soak TREE [--minutes 30] [--csv FILE]

TREE is a real build tree with BTF in its vmlinux; it is changed, so give a copy. At random: modules
are linked again (with the linker, from their objects, where those are there), some in a row; a
directory of thousands of files is written and removed, as checkouts and clean do; a directory of
modules goes and comes back; vmlinux is linked again with the same BTF, or with another. Every ten
seconds a line: resident memory, CPU, what was encoded and lost. At the end the service must have
nothing left to do, `btfd check` must find nothing, and a quiet minute tells the idle CPU.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.service import Service
from tests.faults.tree import Tree, make_parts
from tests.support.elf import Elf

EVERY = 10.0
#: What may be added to the memory of the first third by the last, in a run that counts as flat.
GROWTH = 1.15


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


class Meter:
    """What /proc says of the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._folder = Path(f"/proc/{service.process.pid}")

    def resident(self) -> int:
        return int((self._folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        fields = (self._folder / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def switches(self) -> int:
        """Voluntary context switches of all threads: how often it woke up."""
        total = 0
        for status in (self._folder / "task").glob("*/status"):
            for line in status.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
        return total

    def line(self, seconds: float) -> list[object]:
        kinds = self._service.kinds()
        return [
            round(seconds),
            self.resident() >> 10,
            round(self.cpu(), 1),
            kinds.count("encoded") + kinds.count("unchanged"),
            kinds.count("failed"),
            kinds.count("lost"),
            kinds.count("base-changed"),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tree", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--pause", type=float, default=1.0, help="between actions, at most")
    parser.add_argument("--csv", type=Path, help="the memory curve goes here")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="soak-"))
    rows: list[list[object]] = []
    soak = Soak(arguments.tree.resolve(), scratch)
    service = Service(soak.small, scratch / "state", arguments=("--use", "watcher"))
    try:
        service.wait_ready()
        meter = Meter(service)
        started = said = time.monotonic()
        header = ["seconds", "resident_kib", "cpu_s", "encoded", "failed", "lost", "bases"]
        print("\t".join(header), flush=True)
        while (now := time.monotonic()) - started < 60 * arguments.minutes:
            soak.act()
            time.sleep(soak.chance.random() * arguments.pause)
            if now - said >= EVERY:
                said = now
                rows.append(meter.line(now - started))
                print("\t".join(map(str, rows[-1])), flush=True)
        service.wait_right()
        print("actions:", soak.done, flush=True)
        failed = [e for e in service.events if e["event"] == "failed"]
        print("failures:", {(e["path"], e["reason"]) for e in failed}, flush=True)
        cpu, woken, at = meter.cpu(), meter.switches(), time.monotonic()
        time.sleep(60)
        quiet = time.monotonic() - at
        print(f"idle: {1000 * (meter.cpu() - cpu) / quiet:.2f} ms of CPU and "
              f"{(meter.switches() - woken) / quiet:.2f} wake-ups a second")  # fmt: skip
        status = service.stop()
        checked = subprocess.run(
            [sys.executable, "-m", "btfd", "check", "--use", "watcher", str(soak.root)], check=False
        )
        return 1 if status or checked.returncode or not flat(rows) else 0
    finally:
        if service.process.poll() is None:
            service.kill()
        if arguments.csv:
            with open(arguments.csv, "w", newline="") as f:
                csv.writer(f).writerows([header, *rows])
        shutil.rmtree(scratch, ignore_errors=True)


def flat(rows: list[list[object]]) -> bool:
    """Whether the last third took no more memory than the first, its start left out."""
    sizes = [int(str(row[1])) for row in rows]
    third = len(sizes) // 3
    if third < 2:
        return True
    first, last = max(sizes[third // 4 : third]), max(sizes[-third:])
    print(f"memory: at most {first >> 10} MiB in the first third, {last >> 10} MiB in the last")
    return last <= GROWTH * first


if __name__ == "__main__":
    sys.exit(main())
