"""The tree goes away, comes back, or is somewhere else than it seems."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.faults.inside import inside, mount, unmount
from tests.faults.service import serving
from tests.faults.tree import Parts, Tree


def test_the_same_directory_is_removed_and_made_20_times(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        for n in range(20):
            shutil.rmtree(tree.root / "drivers/d1")
            for m in (1, 5, 9):
                tree.link(f"drivers/d1/m{m}.ko", n + m)
        service.wait_right()
        tree.link("drivers/d1/m1.ko", 7)


def test_a_directory_is_moved_out_and_another_made_in_its_place(
    tree: Tree, state: Path, tmp_path: Path
) -> None:
    with serving(tree, state) as service:
        (tree.root / "drivers").rename(tmp_path / "elsewhere")
        tree.link("drivers/d0/m0.ko", 3)
        shutil.rmtree(tree.root / "drivers")
        shutil.rmtree(tmp_path / "elsewhere")
        for n in range(12):
            tree.link(f"drivers/d{n % 4}/m{n}.ko", n + 1)
        service.wait_right()
        tree.link("drivers/d2/m2.ko", 9)


def test_a_directory_is_moved_out_edited_and_moved_back(
    tree: Tree, state: Path, tmp_path: Path
) -> None:
    with serving(tree, state):
        away = tmp_path / "elsewhere"
        (tree.root / "drivers").rename(away)
        Tree(away, tree.parts).link("d3/m3.ko", 8)
        away.rename(tree.root / "drivers")


def test_the_tree_is_moved_out_and_back(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        away = tree.root.with_name("away")
        tree.root.rename(away)
        service.wait(lambda: "lost" in service.kinds())
        Tree(away, tree.parts).link("drivers/d0/m4.ko", 9)
        away.rename(tree.root)
        service.wait_right()
        tree.link("drivers/d0/m0.ko", 5)


def test_the_tree_is_deleted_and_built_again(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        for n in range(3):
            shutil.rmtree(tree.root)
            tree.build()
            tree.link("drivers/d0/m0.ko", n + 1)
            service.wait_right()


def test_the_root_is_a_symbolic_link(tree: Tree, state: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree.root)
    with serving(Tree(tmp_path / "link", tree.parts), state) as service:
        tree.link("drivers/d0/m0.ko", 7)
        service.wait_right()
        before = service.count("base-changed")
        tree.link_base(1)
        service.wait(lambda: service.count("base-changed") > before)


def test_the_tree_is_moved_and_a_link_left_in_its_place(
    tree: Tree, state: Path, tmp_path: Path
) -> None:
    """A link is no place to watch from; the tree is right all the same."""
    away = tree.root.with_name("away")
    with serving(tree, state) as service:
        tree.root.rename(away)
        tree.root.symlink_to(away)
        service.wait(lambda: "lost" in service.kinds())
        tree.link("drivers/d0/m0.ko", 5)
        service.wait_right()
        tree.root.unlink()
        away.rename(tree.root)
        tree.link("drivers/d0/m0.ko", 6)
        service.wait_right()
        tree.link("drivers/d1/m1.ko", 7)


def unmounted(folder: Path, parts: Parts) -> None:
    root = folder / "mounted"
    mount(root)
    tree = Tree(root, parts).build()
    with serving(tree, folder / "state") as service:
        for n in range(2):
            before = service.count("lost")
            unmount(root)
            service.wait_for_more("lost", before)
            mount(root)
            tree.build()
            tree.link("drivers/d0/m0.ko", n + 5)
            service.wait_right()
        mount(root / "drivers/d1")
        tree.link("drivers/d1/m1.ko", 7)
        unmount(root / "drivers/d1")
        tree.link("drivers/d1/m1.ko", 8)


def test_the_tree_is_unmounted_and_mounted_again(tmp_path: Path, parts: Parts) -> None:
    inside(unmounted, tmp_path, parts, "-Urm")


def test_two_trees_share_a_module(tree: Tree, state: Path, tmp_path: Path) -> None:
    other = Tree(tmp_path / "other", tree.parts).build()
    shared = "drivers/d0/m0.ko"
    (other.root / shared).unlink()
    os.link(tree.root / shared, other.root / shared)
    with serving(tree, state) as one, serving(other, tmp_path / "state2") as two:
        for n in range(5):
            path = tree.link(shared, n + 3)
            (other.root / shared).unlink()
            os.link(path, other.root / shared)
            one.wait_right()
            two.wait_right()
