"""What the kernel grants runs out, or a part of the service dies."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.inside import Scenario, inside, mount
from tests.faults.service import Service, serving
from tests.faults.tree import Parts, Tree
from tests.support.run import must


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


def full_for_copies(folder: Path, parts: Parts) -> None:
    """Room for the links, but not for copies of them; then some is freed."""
    full(folder, parts, shared=True)


def full_for_additions(folder: Path, parts: Parts) -> None:
    """Not even for a section more: the modules end where a page does."""
    modules = tuple(to_the_page(data, folder) for data in parts.modules)
    full(folder, replace(parts, modules=modules), shared=False)


def to_the_page(module: bytes, folder: Path) -> bytes:
    """The module with a section more, so that it fills its pages."""
    plain, padding, padded = (folder / name for name in ("plain", "padding", "padded"))
    plain.write_bytes(module)
    size = 8
    for _ in range(2):
        padding.write_bytes(bytes(size))
        must("objcopy", f"--add-section=.padding={padding}", plain, padded)
        size += -padded.stat().st_size % 4096
    assert padded.stat().st_size % 4096 == 0
    return padded.read_bytes()


def full(folder: Path, parts: Parts, *, shared: bool) -> None:
    root = folder / "tree"
    mount(root, "size=1m")
    tree = Tree(root, parts).build()
    for path in tree.paths() if shared else ():
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


@pytest.mark.parametrize("scenario", [full_for_copies, full_for_additions])
def test_the_disk_is_full(tmp_path: Path, parts: Parts, scenario: Scenario) -> None:
    inside(scenario, tmp_path, parts, "-Urm")


def full_for_the_index(folder: Path, parts: Parts) -> None:
    state = folder / "state"
    mount(state, "size=256k")
    with open(state / "ballast", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(bytes(4096))
    tree = Tree(folder / "tree", parts).build()
    with serving(tree, state):
        tree.link("drivers/d1/m1.ko", 5)
    (state / "ballast").unlink()

    def done(service: Service) -> list[str]:
        return [e["path"] for e in service.events if e["event"] in ("encoded", "unchanged")]

    with serving(tree, state) as service:
        # What could not be remembered is done again; it was right all the time.
        service.wait(lambda: len(done(service)) == 12)
    assert len(done(service)) == 12
    with serving(tree, state) as service:
        pass
    assert not done(service)


def test_the_disk_of_the_index_is_full(tmp_path: Path, parts: Parts) -> None:
    inside(full_for_the_index, tmp_path, parts, "-Urm")


GIL_HOG = """
import sys, threading
def hog():
    n = 0
    while True:
        n += 1
for _ in range(2):
    threading.Thread(target=hog, daemon=True).start()
from btfd.__main__ import main
sys.exit(main())
"""


def test_somebody_hogs_the_interpreter(tree: Tree, state: Path) -> None:
    """Each hand-over between threads takes 5 ms and more; the kernel's queue must outlast that."""
    with serving(tree, state, program=GIL_HOG) as service:
        for n in range(3000):
            (tree.root / f"drivers/d{n % 4}/{n % 500}.o").write_bytes(b"")
            if n % 50 == 0:
                tree.link(f"drivers/d{n % 4}/m{n % 12}.ko", n)
        service.wait_right()


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
