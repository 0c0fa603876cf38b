"""Ids as the kernel's own resolve_btfids (6.12) finds them, byte by byte.

First in files written here: random sets, names in one layer, in both or in none, every class and
byte order. Then in the modules of a real kernel, whose ids Debian's build resolved: that
is also a test of the way back to the words that the linker wrote.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from btfd import _core, resolver
from btfd.kbuild import AUTO_CONF, find_tree
from tests.kernel import resolve_btfids
from tests.kernel.tree import KernelTree, NoTree
from tests.support import ids
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES, btfd, must

FEATURES = KBUILD_FEATURES.split(",")


@pytest.fixture(scope="session")
def tool() -> Path:
    try:
        return resolve_btfids.get()
    except NoTree as error:
        pytest.skip(str(error))


def _stamp(path: Path) -> _core.Stamp:
    s = os.stat(path)
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def _section(path: Path) -> bytes:
    found = _core.read_section(path, ".BTF_ids")
    assert found is not None
    return found


def _some(chance: random.Random, names: list[str], most: int) -> list[str]:
    return [chance.choice(names) for _ in range(chance.randint(0, most))]


def _random_ids(chance: random.Random, names: list[str]) -> ids.Ids:
    made = ids.Ids()
    for n in range(chance.randint(1, 6)):
        match chance.randrange(3):
            case 0:
                for name in _some(chance, names, 5):
                    made.id(chance.choice(list(ids.KINDS)), name)
            case 1:
                made.plain_set(f"plain{n}", _some(chance, names, 9))
            case _:
                members = [(name, chance.getrandbits(32)) for name in _some(chance, names, 9)]
                made.flagged_set(f"flagged{n}", chance.randrange(2), members)
    if not made.symbols:
        made.id("struct", names[0])
    return made


@pytest.mark.parametrize(("wide", "order"), ids.CLASSES)
def test_random_sets(tool: Path, tmp_path: Path, wide: bool, order: str) -> None:
    chance = random.Random(f"{wide}{order}")
    module, copy = tmp_path / "a.ko", tmp_path / "copy.ko"
    for _ in range(60):
        names = [f"name__{n}_" for n in range(chance.randint(2, 20))]
        made = _random_ids(chance, names)
        layers = []
        first_id, first_string = 1, 0
        for _ in range(2):
            content = [(chance.choice(list(ids.KINDS)), chance.choice(names)) for _ in range(30)]
            layers.append(ids.btf(order, content, first_id, first_string))
            first_id += len(content) + 1
            first_string += sum(len(name) + 1 for _, name in content) + (first_string == 0)
        for name, layer in zip(("base", "split"), layers, strict=True):
            (tmp_path / name).write_bytes(layer)
        module.write_bytes(ids.elf(made, wide, order))
        shutil.copy(module, copy)
        must(tool, "--btf", tmp_path / "split", "-b", tmp_path / "base", copy)
        found = _core.resolve_ids(module, layers[1], _core.Base.from_bytes(layers[0]))
        assert found is not None
        assert found[0].fresh
        assert found[0].resolved == _section(copy)


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules with `.BTF_ids` of a tree."""

    tree: KernelTree
    base: _core.Base
    paths: list[Path]


@pytest.fixture(scope="module")
def modules(kernel_tree: KernelTree) -> Modules:
    paths = [kernel_tree.root / name for name in kernel_tree.modules()]
    with_ids = [path for path in paths if Elf.read(path).find(".BTF_ids")]
    assert with_ids
    return Modules(kernel_tree, _core.Base.load(kernel_tree.vmlinux), with_ids)


def _encode(
    path: Path, base: _core.Base, earlier: tuple[str, bytes] | None = None
) -> tuple[_core.Encoded, _core.Ids]:
    made = _core.encode(path, base, FEATURES, lang_exclude=["rust"], earlier=earlier)
    assert made.ids is not None
    return made, made.ids


def test_debians_own_ids_over_debians_own_btf(modules: Modules) -> None:
    for path in modules.paths:
        found = _core.resolve_ids(path, _core.read_btf(path), modules.base)
        assert found is not None
        assert found[0].settled, path.name
        assert not found[0].fresh


def test_our_btf_resolved_by_the_tool(modules: Modules, tool: Path, tmp_path: Path) -> None:
    for path in modules.paths:
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        made, found = _encode(copy, modules.base)
        _core.install(copy, made.btf, _stamp(copy), btf_ids=found.pristine)
        again, fresh = _encode(copy, modules.base)
        assert fresh.fresh and again.btf == made.btf
        must(tool, "-b", modules.tree.vmlinux, copy)
        assert _section(copy) == found.resolved, path.name
        # The tool once more: what it makes of resolved words is healed by those that we kept.
        must(tool, "-b", modules.tree.vmlinux, copy)
        assert found.build_id is not None
        _, healed = _encode(copy, modules.base, (found.build_id, found.pristine))
        assert healed.resolved == found.resolved


def test_five_encodes_are_one(modules: Modules, tmp_path: Path) -> None:
    for path in modules.paths:
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        # Over the base, and over one with a type more, so that every id differs.
        raw = bytearray(modules.base.to_bytes())
        other = _core.Base.from_bytes(_longer(raw))
        first: dict[str, tuple[bytes, bytes]] = {}
        for base in [modules.base, other, modules.base, other, modules.base, modules.base]:
            made, found = _encode(copy, base)
            words = None if found.settled else found.resolved
            _core.install(copy, made.btf, _stamp(copy), btf_ids=words)
            result = (made.btf, _section(copy))
            assert first.setdefault(base.digest, result) == result, path.name
        assert must("readelf", "-S", copy).stdout.count(" .BTF_ids ") == 1


def _longer(raw: bytearray) -> bytes:
    """BTF with one more type at its end: a pointer to void."""
    sizes = [int.from_bytes(raw[at : at + 4], "little") for at in (4, 12, 16)]
    end = sizes[0] + sizes[1]
    for at, old in ((12, sizes[1]), (16, sizes[2])):
        raw[at : at + 4] = (old + 12).to_bytes(4, "little")
    pointer = b"".join(word.to_bytes(4, "little") for word in (0, 2 << 24, 0))
    return bytes(raw[:end]) + pointer + bytes(raw[end:])


def test_the_trees_own_program_runs(modules: Modules, tool: Path, tmp_path: Path) -> None:
    """In a tree that has the program, which leaves a trace of having run."""
    path = max(modules.paths, key=lambda p: p.stat().st_size)
    _, native = _encode(path, modules.base)
    tree = tmp_path / "tree"
    (tree / AUTO_CONF).parent.mkdir(parents=True)
    (tree / AUTO_CONF).write_text("CONFIG_DEBUG_INFO_BTF=y\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n")
    (tree / "vmlinux").symlink_to(modules.tree.vmlinux)
    program = tree / resolver.PLACE
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/trace\nexec {tool} "$@"\n')
    program.chmod(0o755)
    copy = tree / path.name
    shutil.copy(path, copy)
    assert find_tree(str(copy)) == str(tree)
    options = ("--btf-features", KBUILD_FEATURES, "--lang-exclude", "rust")
    for _ in range(2):
        done = btfd("encode", *options, copy)
        assert done.returncode == 0, done.stderr
        assert _section(copy) == native.resolved
    assert ": unchanged, " in done.stdout
    assert "module.ko" in (tmp_path / "trace").read_text()
    program.write_text("#!/bin/sh\necho wrong >&2\nexit 3\n")
    done = btfd("encode", *options, copy)
    assert done.returncode == 1
    assert "failed with status 3: wrong" in done.stderr
    program.chmod(0o757)  # anybody could have written it
    assert btfd("encode", *options, copy).returncode == 0
