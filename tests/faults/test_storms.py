"""Much at once: more events than the kernel keeps for a reader."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.service import serving
from tests.faults.tree import MODULES, Parts, Tree
from tests.support.run import must

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


def touch(folder: Path, count: int) -> None:
    for n in range(count):
        (folder / f"{n % 1000}.o").write_bytes(b"")


def test_stopped_while_20000_files_are_written(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        with service.stopped():
            for d in range(4):
                touch(tree.root / f"drivers/d{d}", 5000)
            for n in range(12):
                tree.link(f"drivers/d{n % 4}/m{n}.ko", n + 5)
            tree.link("drivers/new/deep/m.ko", 3)
        service.wait(lambda: "lost" in service.kinds())
        service.wait_right()
        tree.link("drivers/new/deep/m.ko", 4)
        tree.link_base(1)


def test_stopped_as_in_a_suspended_machine(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        for n in range(3):
            with service.stopped():
                tree.link(f"drivers/d{n}/m{n}.ko", n + 6)
                tree.link_base(n + 1)
                time.sleep(0.5)
            service.wait_right()


@pytest.mark.heavy
def test_checkout_of_30000_files(tree: Tree, state: Path) -> None:
    """As git does it: unlink, create, write, close; the modules are linked again in between."""
    root = tree.root
    git = ("git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@y", "-c", "gc.auto=0")
    (root / ".gitignore").write_text("*.ko\nvmlinux\ninclude/config\n")
    must(*git, "init", "-q", "-b", "one")
    for branch in ("one", "two"):
        if branch == "two":
            must(*git, "checkout", "-q", "-b", "two")
        for n in range(30_000):
            folder = root / f"src/s{n // 100}"
            if n % 100 == 0:
                folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n}.c").write_text(f"{branch} {n}\n")
        must(*git, "add", "-A", timeout=1200)
        must(*git, "commit", "-q", "-m", branch, timeout=1200)
    with serving(tree, state) as service:
        for branch in ("one", "two"):
            checkout = subprocess.Popen([*git, "checkout", "-q", branch])
            n = 0
            while checkout.poll() is None:
                tree.link(f"drivers/d{n % 4}/m{n % 12}.ko", n)
                n += 1
                time.sleep(0.01)
            assert checkout.returncode == 0
            service.wait_right()


@pytest.mark.heavy
def test_18000_directories_and_an_overflow(tree: Tree, state: Path) -> None:
    """More watches than the queue holds events: no way to drop them all and live."""
    for n in range(18_000):
        (tree.root / f"wide/w{n // 200}/{n}").mkdir(parents=True)
    with serving(tree, state) as service:
        with service.stopped():
            touch(tree.root / "drivers/d0", QUEUE)
            tree.link("drivers/d0/m0.ko", 9)
        service.wait(lambda: "lost" in service.kinds())
        for n in (0, 9_000, 17_999):
            tree.link(f"wide/w{n // 200}/{n}/m.ko", n % MODULES)
        service.wait_right()
        losses = service.count("lost")
        time.sleep(2)
        assert service.count("lost") == losses, "an overflow must not feed itself"


@pytest.mark.heavy
def test_many_modules_in_a_storm(tmp_path: Path, parts: Parts, state: Path) -> None:
    tree = Tree(tmp_path / "tree", parts).build(modules=300, folders=60)
    with serving(tree, state) as service:
        for round in range(5):
            for d in range(60):
                touch(tree.root / f"drivers/d{d}", 400)
            for n in range(300):
                tree.link(f"drivers/d{n % 60}/m{n}.ko", n + round)
        service.wait_right()
