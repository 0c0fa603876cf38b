"""What the kernel grants runs out, or a part of the service dies."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.faults.inside import inside, mount
from tests.faults.service import Service, serving
from tests.faults.tree import Parts, Tree


def few_watches(folder: Path, parts: Parts) -> None:
    sysctl = Path("/proc/sys/user/max_inotify_watches")
    sysctl.write_text("5")
    tree = Tree(folder / "tree", parts).build(modules=40, folders=20)
    with serving(tree, folder / "state") as service:
        (degraded,) = [e for e in service.events if e["event"] == "degraded"]
        assert "limit" in degraded["reason"]
        name, enough = degraded["hint"].split()[1].split("=")
        assert name == "user.max_inotify_watches"
        tree.link("drivers/d19/m19.ko", 5)
        service.wait_right()
        sysctl.write_text(enough)
        service.wait(lambda: "healed" in service.kinds())
        tree.link("drivers/d19/m39.ko", 6)


def test_too_few_watches(tmp_path: Path, parts: Parts) -> None:
    inside(few_watches, tmp_path, parts, "-Ur")


def no_descriptor(folder: Path, parts: Parts) -> None:
    sysctl = Path("/proc/sys/user/max_inotify_instances")
    sysctl.write_text("0")
    tree = Tree(folder / "tree", parts).build()
    with serving(tree, folder / "state") as service:
        assert "degraded" in service.kinds()
        tree.link("drivers/d1/m1.ko", 5)
        service.wait_right()
        sysctl.write_text("8")
        service.wait(lambda: "healed" in service.kinds())
        tree.link("drivers/d1/m1.ko", 6)


def test_no_inotify_descriptor(tmp_path: Path, parts: Parts) -> None:
    inside(no_descriptor, tmp_path, parts, "-Ur")


def full(folder: Path, parts: Parts) -> None:
    """Room for the links, but not for copies of them; then some is freed."""
    root = folder / "tree"
    mount(root, "size=1m")
    tree = Tree(root, parts).build()
    for path in tree.paths():
        os.link(path, path.with_suffix(".shared"))  # so that a copy is made
    ballast = root / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as f:
        while True:
            f.write(bytes(4096))
    links = {path: path.read_bytes() for path in tree.paths()}
    service = Service(tree, folder / "state")
    try:
        service.wait_for_more("failed", 0)
        for path, data in links.items():
            assert tree.damaged(path) is None
            assert path.read_bytes() == data
        assert not [p for p in root.rglob("*") if p.is_file() and ".btfd" in p.name]
        ballast.unlink()
        service.wait_right()
        assert service.stop() == 0
    finally:
        if service.process.poll() is None:
            service.kill()


def test_the_disk_is_full(tmp_path: Path, parts: Parts) -> None:
    inside(full, tmp_path, parts, "-Urm")


DEAD_READER = """
import sys
from btfd.watch import Watcher
handle = Watcher._handle
def harmed(self, event):
    if event.name == b"poison":
        raise KeyError("harm")
    handle(self, event)
Watcher._handle = harmed
from btfd.__main__ import main
sys.exit(main())
"""


def test_a_dead_reader_ends_the_service_and_a_new_one_heals(tree: Tree, state: Path) -> None:
    service = Service(tree, state, program=DEAD_READER)
    service.wait_ready()
    (tree.root / "poison").touch()
    service.wait(lambda: service.process.poll() is not None, ended=True)
    assert service.stop() == 1, "a deaf service is worse than a dead one"
    assert "deaf" in service.kinds()
    tree.link("drivers/d1/m1.ko", 5)
    with serving(tree, state):
        pass
