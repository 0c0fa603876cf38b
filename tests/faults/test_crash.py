"""kill -9 at any moment: a module holds the old bytes or the new ones, and nothing is lost."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from btfd.store import Store
from tests.faults.service import Service, serving
from tests.faults.tree import MODULES, Parts, Tree
from tests.support.run import must


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.heavy)])
def test_killed_while_it_encodes_and_installs(
    tmp_path: Path, parts: Parts, state: Path, rounds: int
) -> None:
    tree = Tree(tmp_path / "tree", parts).build(modules=120, folders=10)
    chance = random.Random(rounds)
    amid = 0
    for n in range(rounds):
        if n % 3 == 2:  # with hard links, another way to install
            for path in tree.paths()[::2]:
                copy = tmp_path / f"copy{n}-{path.name}"
                os.link(path, copy)
        service = Service(tree, state)
        service.wait_for_any()
        time.sleep(chance.uniform(0, 0.1))
        service.kill()
        wrong = tree.wrong()
        amid += 0 < len(wrong) < 120
        for path in tree.paths():
            assert tree.damaged(path) is None, path
        assert Store(str(state / "btfd/index.sqlite")).trouble is None
        for m in range(120):
            tree.link(f"drivers/d{m % 10}/m{m}.ko", n + m)
    assert amid, "not one kill came while modules were done and others were not"
    with serving(tree, state) as service:
        service.wait_right()
    assert left_in(tree) == []


def test_killed_while_it_copies(tree: Tree, state: Path, tmp_path: Path) -> None:
    """A file with other links is copied; a large one takes long enough to be met at it."""
    module, padding = tree.root / "drivers/d0/m0.ko", tmp_path / "padding"
    padding.write_bytes(bytes(1 << 20) * 192)
    objcopy = ("objcopy", f"--add-section=.padding={padding}", module)
    with serving(tree, state):
        pass
    for n in range(20):
        tree.link("drivers/d0/m0.ko", n)
        must(*objcopy)
        twin = tmp_path / f"twin{n}"
        os.link(module, twin)
        service = Service(tree, state)
        service.wait_for_either(lambda: left_in(tree) != [], "encoded")
        service.kill()
        assert twin.read_bytes()[:4] == b"\x7fELF"
        if left_in(tree):
            break
    left = left_in(tree)
    assert len(left) == 1, "not one kill met a copy"
    with serving(tree, state) as service:
        pass
    assert left_in(tree) == []
    cleaned = [e["path"] for e in service.events if e["event"] == "cleaned"]
    assert cleaned == [f"drivers/d0/{left[0]}"]


def test_what_a_killed_install_left_is_removed_unless_it_is_somebodys_only_link(
    tree: Tree, state: Path
) -> None:
    with serving(tree, state):
        pass
    folder = tree.root / "drivers/d0"
    with subprocess.Popen(["true"]) as gone:
        pass
    link, only = tree.parts.modules[0], tree.parts.modules[MODULES - 1]
    installed = (folder / "m0.ko").read_bytes()
    contents = [link, link[:-9], b"", b"no ELF", installed, only]
    names = [f".btfd-{gone.pid}-{n}.tmp" for n in range(len(contents))]
    for name, data in zip(names, contents, strict=True):
        (folder / name).write_bytes(data)
    with serving(tree, state) as service:
        pass
    told = {(e["event"], e.get("path")) for e in service.events}
    assert left_in(tree) == names[-1:]
    expected = {("cleaned", f"drivers/d0/{name}") for name in names[:-1]}
    assert told >= expected | {("leftover", f"drivers/d0/{names[-1]}")}
    assert (folder / names[-1]).read_bytes() == only


def left_in(tree: Tree) -> list[str]:
    """Names of temporary files in the tree."""
    return sorted(path.name for path in tree.root.rglob(".btfd-*"))


def test_a_restart_encodes_only_what_is_stale(tree: Tree, state: Path) -> None:
    with serving(tree, state):
        pass
    tree.link("drivers/d1/m1.ko", 9)
    with serving(tree, state) as service:
        pass  # the file is right before its event is told
    done = [e["path"] for e in service.events if e["event"] in ("encoded", "unchanged")]
    assert done == ["drivers/d1/m1.ko"]


def test_what_changed_while_nobody_looked(tree: Tree, state: Path) -> None:
    with serving(tree, state):
        pass
    tree.link_base(1)
    tree.link("drivers/new/m.ko", 3)
    (tree.root / "drivers/d2/m2.ko").unlink()
    with serving(tree, state):
        pass
