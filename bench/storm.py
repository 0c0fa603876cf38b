"""Half a million events: who loses what, and what an event costs.

    python -m bench.storm [--events 500000] [--directories 5000] [--modules 600] [--rate N]

Writes files as a build does (a dependency file made and removed, an object written twice, a command
file; now and then an archive renamed into place), and modules among them, and asks each watcher
when it saw which module: ours, the kernel's own events through ctypes, watchdog's stock Observer
and, where it is installed, watchfiles. Then the whole of btfd: are all modules encoded?

A table on stdout: modules seen, CPU per event, and the time from close to sight (median, p99); in
the last row from close to BTF, 50 ms of which are for settling (`btfd.schedule.SETTLE`). Each runs
in a process of its own; CPU is that process's, user and system.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

#: Events that one object and what belongs to it make on the write side.
PER_OBJECT = 10
QUIET = 3.0
Saw = Callable[[str], None]


def ours(root: str, saw: Saw) -> Callable[[], object]:
    from btfd.daemon import interesting
    from btfd.signs import Appeared, Changed, Lost
    from btfd.watch import Watcher

    woken = threading.Event()
    watcher = Watcher(root, interesting, woken.set)
    watcher.start()

    def consume() -> None:
        while woken.wait():
            woken.clear()
            for event in watcher.take():
                match event:
                    case Changed(path):
                        saw(path)
                    case Appeared(path) | Lost(_, path):
                        for folder, _, files in os.walk(path):
                            for name in files:
                                if name.endswith(".ko"):
                                    saw(os.path.join(folder, name))

    threading.Thread(target=consume, daemon=True).start()
    return watcher.stop


def raw(root: str, saw: Saw) -> Callable[[], object]:
    """The least that can be done in Python: one thread, one table."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init()
    places = {}
    for folder, _, _ in os.walk(root):
        # CLOSE_WRITE, MOVED_TO, CREATE, DELETE, MOVED_FROM: what ours asks for
        places[libc.inotify_add_watch(fd, os.fsencode(folder), 0x3C8)] = folder

    def read() -> None:
        while True:
            data, at = os.read(fd, 1 << 16), 0
            while at < len(data):
                wd, mask, _, size = struct.unpack_from("iIII", data, at)
                name = data[at + 16 : at + 16 + size].rstrip(b"\0")
                at += 16 + size
                if mask & 0x88 and name.endswith(b".ko"):
                    saw(os.path.join(places[wd], os.fsdecode(name)))

    threading.Thread(target=read, daemon=True).start()
    return lambda: None


def stock(root: str, saw: Saw) -> Callable[[], object]:
    from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: object) -> None:
            path = os.fsdecode(getattr(event, "dest_path", "") or getattr(event, "src_path", ""))
            if path.endswith(".ko"):
                saw(path)

    observer = Observer()
    observer.schedule(
        Handler(), root, recursive=True, event_filter=[FileClosedEvent, FileMovedEvent]
    )
    observer.start()
    return observer.stop


def watchfiles(root: str, saw: Saw) -> Callable[[], object]:
    from watchfiles import watch  # type: ignore[import-not-found, unused-ignore]

    def read() -> None:
        for changes in watch(root, watch_filter=None):
            for _, path in changes:
                if path.endswith(".ko"):
                    saw(path)

    threading.Thread(target=read, daemon=True).start()
    time.sleep(2)
    return lambda: None


WATCHERS = {"btfd": ours, "raw inotify": raw, "watchdog Observer": stock, "watchfiles": watchfiles}


def observe(name: str, root: str) -> None:
    """In a process of its own: tells every sight, ends with stdin, then what it cost."""
    seen: dict[str, int] = {}

    def saw(path: str) -> None:
        seen.setdefault(path, time.monotonic_ns())

    stop = WATCHERS[name](root, saw)
    before = time.process_time()
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        count = len(seen)
        time.sleep(QUIET)
        if len(seen) == count:
            break
    print(json.dumps({"cpu": time.process_time() - before, "seen": seen}), flush=True)
    stop()
    os._exit(0)


def storm(root: Path, arguments: argparse.Namespace, module: bytes) -> tuple[int, dict[str, int]]:
    """Makes the events; how many, and when each module was closed."""
    objects = arguments.events // PER_OBJECT
    every = max(1, objects // arguments.modules)
    chance = random.Random(1)
    closed: dict[str, int] = {}
    count = 0
    started = time.monotonic()
    for n in range(objects):
        folder = root / f"d{chance.randrange(arguments.directories)}"
        stem = f"{folder}/{n % 8}"
        for name in (f"{stem}.d", f"{stem}.o", f"{stem}.o.cmd"):
            with open(name, "wb") as f:
                f.write(b"x")
        with open(f"{stem}.o", "r+b") as f:
            f.write(b"y")
        os.unlink(f"{stem}.d")
        count += 8
        if n % 10 == 0:
            with open(f"{stem}.tmp", "wb") as f:
                f.write(b"x")
            os.rename(f"{stem}.tmp", f"{folder}/built-in.a")
            count += 4
        if n % every == 0 and len(closed) < arguments.modules:
            path = f"{folder}/m{n}.ko"
            with open(path, "wb") as f:
                f.write(module)
                closed[path] = time.monotonic_ns()
            count += 2
        if arguments.rate:
            time.sleep(max(0.0, started + count / arguments.rate - time.monotonic()))
    return count, closed


def build(folder: Path, directories: int) -> Path:
    root = folder / "tree"
    for n in range(directories):
        (root / f"d{n}").mkdir(parents=True)
    return root


def row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:18}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


def measure(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    root = build(folder, arguments.directories)
    command = [sys.executable, "-m", "bench.storm", "--observe", name, str(root)]
    observer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert observer.stdout is not None
    assert observer.stdin is not None
    if observer.stdout.readline() != "ready\n":
        row(name, ["not installed"])
        return
    started = time.monotonic()
    count, closed = storm(root, arguments, b"x" * 4096)
    took = time.monotonic() - started
    observer.stdin.write("\n")
    observer.stdin.flush()
    told = json.loads(observer.stdout.readline())
    late = [(told["seen"][p] - when) / 1e6 for p, when in closed.items() if p in told["seen"]]
    figures = [
        f"{1e6 * told['cpu'] / count:.1f} us",
        *spread(late),
        f"{count / took / 1000:.1f} k/s",
    ]
    row(name, [f"{len(late)}/{len(closed)}", *figures])


def spread(late: Sequence[float]) -> tuple[str, str]:
    """Median and 99th percentile of milliseconds."""
    if len(late) < 2:
        return "-", "-"
    return f"{median(late):.2f} ms", f"{quantiles(late, n=100)[98]:.1f} ms"


def whole(folder: Path, arguments: argparse.Namespace) -> bool:
    """The real service on real modules: whether every one of them is encoded, by `btfd check`."""
    from tests.faults.service import Service
    from tests.faults.tree import Tree, make_parts

    (folder / "parts").mkdir(parents=True)
    parts = make_parts(folder / "parts")
    tree = Tree(build(folder, arguments.directories), parts).build(modules=1)
    service = Service(tree, folder / "state")
    service.wait_ready()
    statistics = Path(f"/proc/{service.process.pid}/stat")

    def spent() -> float:
        fields = statistics.read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, started = spent(), time.monotonic()
    since_1970 = time.time() - started
    count, closed = storm(tree.root, arguments, parts.modules[3])
    took = time.monotonic() - started
    service.wait_right()
    used = spent() - before
    encoded = {e["path"]: e["time"] - since_1970 for e in service.events if e["event"] == "encoded"}
    late = []
    for path, when in closed.items():
        done = encoded.get(os.path.relpath(path, tree.root))
        if done is not None:
            late.append(1000 * done - when / 1e6)
    wrong = tree.wrong()
    figures = [f"{1e6 * used / count:.1f} us", *spread(late), f"{count / took / 1000:.1f} k/s"]
    row("btfd, encoding", [f"{len(closed) - len(wrong)}/{len(closed)}", *figures])
    print(f"losses told and healed: {service.count('lost')}", flush=True)
    right = not wrong and service.stop() == 0
    checked = subprocess.run(
        [sys.executable, "-m", "btfd", "check", str(tree.root)], capture_output=True, check=False
    )
    return right and checked.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--directories", type=int, default=5_000)
    parser.add_argument("--modules", type=int, default=600)
    parser.add_argument("--rate", type=int, default=0, help="events a second; 0: as many as can be")
    parser.add_argument("--place", type=Path, help="where the trees are made")
    parser.add_argument("--observe", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.observe:
        observe(*arguments.observe)
    row("", ["modules", "CPU an event", "median", "p99", "rate"])
    for name in WATCHERS:
        with tempfile.TemporaryDirectory(prefix="storm-", dir=arguments.place) as folder:
            measure(name, Path(folder), arguments)
    folder = tempfile.mkdtemp(prefix="storm-", dir=arguments.place)
    try:
        return 0 if whole(Path(folder), arguments) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
