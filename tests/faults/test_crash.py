"""kill -9 at any moment: a module holds the old bytes or the new ones, and nothing is lost."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from btfd.store import Store
from tests.faults.service import Service, serving
from tests.faults.tree import Parts, Tree


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
    left = {path.name for path in tree.root.rglob("*") if path.name.startswith(".btfd-")}
    assert all(name.endswith(".tmp") for name in left), "make clean removes those"


def test_a_restart_encodes_only_what_is_stale(tree: Tree, state: Path) -> None:
    with serving(tree, state):
        pass
    tree.link("drivers/d1/m1.ko", 9)
    with serving(tree, state) as service:
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
