"""Twenty modules of two Debian kernels: what we say changed, against codiff and pahole.

All three see sizes of structs. codiff reads the DWARF of both files and compares struct by struct;
pahole tells the sizes in each. What both sides see: structs and unions with a name that stands for
one size in either file. Kernels are some 280 MB to fetch, where they are not in the cache.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from btfd.engine import Base, native
from tests.feedback.graphs import encoded
from tests.kernel import tree
from tests.kernel.tree import KernelTree
from tests.support.run import run

pytestmark = pytest.mark.kernel

PAIRS = 20
#: Larger ones take pahole seconds.
LARGEST = 3 << 20
_CODIFF = re.compile(r"^  (?:struct|union) (\w+) +\| +([+-]\d+)$", re.MULTILINE)

Sizes = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Pair:
    """A module of both kernels. `own`: changes in its split BTF; `all`: in all of its types."""

    name: str
    old: Path
    new: Path
    own: list[dict[str, Any]]
    all: list[dict[str, Any]]


def resized(changes: list[dict[str, Any]]) -> Sizes:
    """Structs and unions of another size, by name; those with one change only."""
    found: Sizes = {}
    twice = set()
    for one in changes:
        if one["kind"] in ("struct", "union"):
            if one["name"] in found:
                twice.add(one["name"])
            found[one["name"]] = (one["size"][0], one["size"][1])
    return {
        name: size
        for name, size in found.items()
        if name not in twice and None not in size and size[0] != size[1]
    }


def choose(old: KernelTree, new: KernelTree) -> Iterator[Pair]:
    """Modules whose own structs changed, no two of them alike."""
    core = native()
    bases: list[Base] = [core.load_base(str(side.vmlinux)) for side in (old, new)]
    seen: set[frozenset[str]] = set()
    for name in new.modules():
        paths = [side.root / name for side in (old, new)]
        if not all(path.exists() and path.stat().st_size <= LARGEST for path in paths):
            continue
        graphs = [encoded(base, path) for base, path in zip(bases, paths, strict=True)]
        own = core.diff(graphs[0], graphs[1])
        changed = frozenset(
            one["name"] for one in own if one["layer"] == "module" and one["change"] == "changed"
        )
        if not resized([one for one in own if one["layer"] == "module"]) or changed in seen:
            continue
        seen.add(changed)
        alone = [encoded(None, path) for path in paths]
        yield Pair(name, paths[0], paths[1], own, core.diff(*alone))


@pytest.fixture(scope="module")
def pairs(kernel_tree: KernelTree) -> list[Pair]:
    for tool in ("pahole", "codiff"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    try:
        old = tree.older()
    except tree.NoTree as error:
        pytest.skip(str(error))
    found = [pair for pair, _ in zip(choose(old, kernel_tree), range(PAIRS), strict=False)]
    assert len(found) == PAIRS
    return found


def sizes(path: Path) -> dict[str, int]:
    """Sizes of structs as pahole reads them from the DWARF; names with more than one left out."""
    done = run("pahole", "-F", "dwarf", "--sizes", path)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = {}
    twice = set()
    for line in done.stdout.splitlines():
        name, size, _ = line.split("\t")
        if found.setdefault(name, int(size)) != int(size):
            twice.add(name)
    return {name: size for name, size in found.items() if name not in twice}


def test_pahole_has_the_same_sizes(pairs: list[Pair]) -> None:
    compared = 0
    for pair in pairs:
        old, new = sizes(pair.old), sizes(pair.new)
        theirs = {n: (old[n], new[n]) for n in old.keys() & new.keys() if old[n] != new[n]}
        ours = {n: s for n, s in resized(pair.all).items() if n in old and n in new}
        assert ours == theirs, pair.name
        # What a module is told is a part of that: its own, and what it refers to.
        told = {n: s for n, s in resized(pair.own).items() if n in old and n in new}
        assert told.items() <= theirs.items(), pair.name
        assert told, pair.name
        compared += len(ours)
    assert compared > 5 * PAIRS


def test_codiff_has_the_same_differences(pairs: list[Pair]) -> None:
    compared = 0
    for pair in pairs:
        done = run("codiff", "-s", pair.old, pair.new)
        assert done.returncode == 0, done.stderr
        # It takes what one file only declares for a struct of no size.
        both = sizes(pair.old).keys() & sizes(pair.new).keys()
        found = _CODIFF.findall(done.stdout)
        theirs = {name: int(by) for name, by in found if int(by) and name in both}
        resizes = resized(pair.all).items()
        ours = {n: after - before for n, (before, after) in resizes if n in both}
        assert ours == theirs, pair.name
        compared += len(ours)
    assert compared > 5 * PAIRS
