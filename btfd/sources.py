"""Which modules a source file is part of, from what kbuild left beside the objects.

Contract: `modules_of` reads `.NAME.o.cmd` (source and headers of an object), `.mod` (objects of a
module) and modules.order; it starts nothing. A tree that was built with O= keeps a link `source`
to its sources. Modules are relative to the tree. A file that nothing was built from has none.

Cost: a C file opens a handful of small files. A header is looked for in the .cmd files beside and
below it, and where it is nobody's there, in those of the whole tree (some seconds in a large one).
"""

import os
from collections.abc import Iterator, Sequence

from btfd import kbuild
from btfd.config import TreeSettings
from btfd.errors import from_os


def root_of(path: str, trees: tuple[str, ...]) -> str | None:
    """The build tree that `path` is a source of: one that holds it, or the one of `trees` that
    does (external modules have no vmlinux to be known by), or whose sources do."""
    inside = kbuild.find_tree(path)
    if inside is not None:
        return inside
    real = os.path.realpath(path)
    return next(
        (tree for tree in trees if _below(real, tree) or _below(real, _sources(tree))), None
    )


def base_of(tree: str, trees: Sequence[TreeSettings]) -> str:
    """The vmlinux that the modules of a tree stand on: its own, or what was configured."""
    real = os.path.realpath(tree)
    named = next((t.base for t in trees if t.base and os.path.realpath(t.root) == real), "")
    if not named:
        return os.path.join(tree, kbuild.BASE)
    return os.path.join(named, kbuild.BASE) if os.path.isdir(named) else named


def modules_of(tree: str, path: str) -> list[str]:
    """The modules of `tree` that `path` is compiled into, in kbuild's order."""
    found = {module for name in objects_of(tree, path) for module in _holders(tree, name)}
    listed = kbuild.modules_order(tree)
    return sorted(found) if listed is None else [m for m in listed if m in found]


def objects_of(tree: str, path: str) -> list[str]:
    """The objects of `tree` that `path` is compiled into, relative to it."""
    real = os.path.realpath(path)
    home = next((root for root in (tree, _sources(tree)) if _below(real, root)), None)
    if home is None:
        return []
    inside = os.path.relpath(real, home)
    if inside.endswith(".h"):
        folder = os.path.dirname(inside)
        return list(_users(tree, folder, real)) or list(_users(tree, "", real))
    return [os.path.splitext(inside)[0] + ".o"]


def home(tree: str) -> str:
    """Where the sources of a tree are."""
    apart = _sources(tree)
    return apart if os.path.isdir(apart) else tree


def _sources(tree: str) -> str:
    return os.path.realpath(os.path.join(tree, "source"))


def _below(path: str, root: str) -> bool:
    return os.path.commonpath([path, os.path.realpath(root)]) == os.path.realpath(root)


def _holders(tree: str, name: str) -> Iterator[str]:
    """Modules that an object is linked into: their .mod stands beside it or further up."""
    folder = os.path.dirname(name)
    # Those of external modules have whole paths.
    words = {os.fsencode(name), os.fsencode(os.path.join(tree, name))}
    while True:
        try:
            with os.scandir(os.path.join(tree, folder)) as entries:
                mods = sorted(e.name for e in entries if e.name.endswith(".mod"))
        except FileNotFoundError:
            mods = []
        for mod in mods:
            if not words.isdisjoint(_read(os.path.join(tree, folder, mod)).split()):
                yield os.path.join(folder, mod[:-4] + ".ko")
        if not folder:
            return
        folder = os.path.dirname(folder)


def _users(tree: str, folder: str, header: str) -> Iterator[str]:
    """Objects below a folder that were compiled with a header."""
    name = os.fsencode(os.path.basename(header))
    for inside, _, files in os.walk(os.path.join(tree, folder)):
        for file in sorted(files):
            if not (file.startswith(".") and file.endswith(".o.cmd")):
                continue
            text = _read(os.path.join(inside, file))
            if name not in text:
                continue
            for word in text.split():
                # The compiler ran in the tree.
                if word.endswith(name) and _same(os.path.join(tree, os.fsdecode(word)), header):
                    yield os.path.relpath(os.path.join(inside, file[1:-4]), tree)
                    break


def _same(path: str, real: str) -> bool:
    return os.path.realpath(path) == real


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""  # make is at work
    except OSError as e:
        raise from_os(e, path) from e
