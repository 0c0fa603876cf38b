"""From a source file to its modules, as kbuild's leftovers tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from btfd import sources
from btfd.config import TreeSettings


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree built with O=: two modules, one of two objects in two directories."""
    src, out = tmp_path / "src", tmp_path / "out"
    for folder in ("drivers/net/sub", "include/linux"):
        (src / folder).mkdir(parents=True)
        (out / folder).mkdir(parents=True)
    (out / "source").symlink_to(src)
    (out / "vmlinux").touch()
    (out / "include/config").mkdir()
    (out / "include/config/auto.conf").touch()
    for name in ("drivers/net/one.c", "drivers/net/sub/part.c", "drivers/net/lone.c"):
        (src / name).touch()
        place, base = (out / name).parent, Path(name).stem
        (place / f".{base}.o.cmd").write_text(
            f"cmd_{name[:-2]}.o := gcc -c\n\ndeps_{name[:-2]}.o := \\\n"
            f"  {src}/include/linux/all.h \\\n  ../src/drivers/net/one.h \\\n\n"
            if base != "lone"
            else f"deps_x := \\\n  {src}/include/linux/all.h \\\n"
        )
    for name in ("include/linux/all.h", "drivers/net/one.h", "drivers/net/none.h"):
        (src / name).touch()
    (out / "drivers/net/big.mod").write_text("drivers/net/one.o\ndrivers/net/sub/part.o\n")
    (out / "drivers/net/lone.mod").write_text("drivers/net/lone.o\n\n")
    (out / "modules.order").write_text("drivers/net/lone.o\ndrivers/net/big.o\n")
    return out


BIG, LONE = "drivers/net/big.ko", "drivers/net/lone.ko"


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("drivers/net/one.c", [BIG]),
        ("drivers/net/sub/part.c", [BIG]),
        ("drivers/net/lone.c", [LONE]),
        ("drivers/net/one.h", [BIG]),
        ("include/linux/all.h", [LONE, BIG]),
        ("drivers/net/none.h", []),
        ("drivers/net/nothing.c", []),
    ],
)
def test_modules_of(tree: Path, name: str, modules: list[str]) -> None:
    assert sources.modules_of(str(tree), str(tree.parent / "src" / name)) == modules


def test_the_tree_of_a_source_outside_it(tree: Path) -> None:
    path = str(tree.parent / "src/drivers/net/one.c")
    assert sources.root_of(path, (str(tree),)) == str(tree)
    assert sources.root_of(path, ()) is None
    assert sources.root_of(str(tree / "drivers/net/one.c"), ()) == str(tree)
    assert sources.modules_of(str(tree), "/elsewhere/one.c") == []


def test_what_modules_order_does_not_list_is_no_module(tree: Path) -> None:
    (tree / "modules.order").write_text("drivers/net/lone.o\n")
    assert sources.modules_of(str(tree), str(tree.parent / "src/include/linux/all.h")) == [LONE]


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A directory of external modules, as M= leaves it: every path is whole."""
    out = tmp_path / "external"
    (out / "sub").mkdir(parents=True)
    for name in ("main.c", "sub/part.c", "own.h"):
        (out / name).touch()
    (out / ".main.o.cmd").write_text(f"deps_{out}/main.o := \\\n  {out}/own.h \\\n")
    (out / "hello.mod").write_text(f"{out}/main.o\n{out}/sub/part.o\n")
    (out / "modules.order").write_text(f"{out}/hello.ko\n")
    return out


def test_external_modules(external: Path, tree: Path) -> None:
    trees = (TreeSettings(str(tree)), TreeSettings(str(external), base=str(tree)))
    for name in ("main.c", "sub/part.c", "own.h"):
        path = str(external / name)
        assert sources.root_of(path, tuple(t.root for t in trees)) == str(external)
        assert sources.modules_of(str(external), path) == ["hello.ko"]
    assert sources.root_of(str(external / "main.c"), ()) is None
    assert sources.base_of(str(external), trees) == str(tree / "vmlinux")
    assert sources.base_of(str(tree), trees) == str(tree / "vmlinux")
