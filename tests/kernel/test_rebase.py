"""What is kept of an encode, put onto another base: the bytes of an encode over that one."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from btfd import _core
from btfd.engine import stamp_of
from tests.kernel.conftest import Results
from tests.support.btf import with_grown
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES

FEATURES = KBUILD_FEATURES.split(",")
#: How many modules, spread over all sizes.
SPREAD = 40
#: Modules with `.BTF_ids`, and one of which identities do not tell the types apart.
OTHERS = ("nf_conntrack.ko", "nf_nat.ko", "tcp_bbr.ko", "tcp_dctcp.ko", "sctp_diag.ko")
MARK = b"the mark"


def same(btf: bytes) -> bytes:
    return btf


def renumbered(btf: bytes) -> bytes:
    """The same types under other ids."""
    return _core.sort_by_name([], btf)


def renamed(btf: bytes) -> bytes:
    """Some names are others, and with them what bears them."""
    length, *_, start, size = struct.unpack_from("<I4I", btf, 4)
    out = bytearray(btf)
    starts = [at + 1 for at in range(size - 1) if btf[length + start + at] == 0]
    for at in random.Random(1).sample(starts, 200):
        at += length + start
        if btf[at : at + 4].isalpha():
            out[at : at + 1] = b"Z"
    return bytes(out)


def grown(btf: bytes) -> bytes:
    """A struct is another that modules know by its name only."""
    return with_grown(btf, "audit_context")


@pytest.fixture(scope="module")
def modules(results: Results) -> list[Path]:
    root = results.tree.root
    every = sorted((root / m for m in results.tree.modules()), key=lambda path: path.stat().st_size)
    others = [path for path in every if path.name in OTHERS]
    return every[:: max(1, len(every) // SPREAD)] + others


def encode(path: Path, base: _core.Base, keep: bool = False) -> _core.Encoded:
    return _core.encode(path, base, FEATURES, lang_exclude=["rust"], threads=2, keep=keep)


@pytest.mark.parametrize("change", [same, renumbered, grown, renamed])
def test_the_bytes_are_those_of_an_encode(
    results: Results, modules: list[Path], tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    raw = results.raw_base.read_bytes()
    old, new = _core.Base.from_bytes(raw), _core.Base.from_bytes(change(raw))
    ways = (_core.Rebase(old, new), new), (_core.Rebase(old, old), old)
    moved, left, words = 0, [], 0
    for module in modules:
        copy, kept = tmp_path / module.name, tmp_path / "kept"
        shutil.copyfile(module, copy)
        made = encode(copy, old, keep=True)
        assert made.kept is not None, module.name
        kept.write_bytes(MARK + made.kept)
        ids = made.ids
        link = None if ids is None or ids.build_id is None else (ids.build_id, ids.pristine)
        for way, base in ways:
            stamp = stamp_of(str(copy))
            assert stamp is not None
            order = (os.fsencode(copy), stamp, os.fsencode(kept), MARK, link)
            (done,) = way.install([order])
            if done is None:
                left.append(module.name)
                continue
            moved += 1
            expected = encode(module, base)
            assert done.btf == _core.read_btf(copy) == expected.btf, (module.name, base.digest)
            assert done.types == expected.types and done.stamp == stamp_of(str(copy))
            if expected.ids is not None:
                words += 1
                assert Elf.read(copy).contents(".BTF_ids") == expected.ids.resolved, module.name
        copy.unlink()
    if change is renamed:
        # Who uses what bears one of these names has to be encoded; back to the old base all go.
        assert 0 < len(left) < len(modules)
    else:
        assert left == []
        assert words > 0


def test_what_is_not_as_it_was_is_left(
    results: Results, modules: list[Path], tmp_path: Path
) -> None:
    old = _core.Base.from_bytes(results.raw_base.read_bytes())
    new = _core.Base.from_bytes(renumbered(results.raw_base.read_bytes()))
    way = _core.Rebase(old, new)
    module = next(path for path in modules if path.name not in OTHERS)
    copy, kept = tmp_path / module.name, tmp_path / "kept"
    shutil.copyfile(module, copy)
    made = encode(copy, old, keep=True)
    assert made.kept is not None and made.vermagic is not None
    kept.write_bytes(MARK + made.kept)
    before = copy.read_bytes()
    name, place, stamp = os.fsencode(copy), os.fsencode(kept), made.stamp
    release = made.vermagic.split()[0]
    other = (*stamp[:4], stamp[4] + 1)
    assert way.install([(name, stamp, place, b"no  mark", None)]) == [None]
    assert way.install([(name, other, place, MARK, None)]) == [None]
    assert way.install([(name, stamp, place + b"x", MARK, None)]) == [None]
    assert way.install([(name, stamp, place, MARK, None)], release="6.0") == [None]
    with copy.open("r+b"):
        assert way.install([(name, stamp, place, MARK, None)]) == [None]
    for at in range(0, len(made.kept), 97):
        damaged = bytearray(MARK + made.kept)
        damaged[len(MARK) + at] ^= 4
        kept.write_bytes(damaged)
        assert way.install([(name, stamp, place, MARK, None)]) == [None]
    assert copy.read_bytes() == before
    kept.write_bytes(MARK + made.kept)
    (done,) = way.install([(name, stamp, place, MARK, None)], release=release)
    assert done is not None and done.status == "written"
    (again,) = way.install([(name, done.stamp, place, MARK, None)])
    assert again is not None and (again.status, again.stamp) == ("unchanged", done.stamp)


def test_ids_are_not_guessed(results: Results, modules: list[Path], tmp_path: Path) -> None:
    old = _core.Base.from_bytes(results.raw_base.read_bytes())
    way = _core.Rebase(old, old)
    module = next(path for path in modules if path.name == "tcp_bbr.ko")
    copy, kept = tmp_path / module.name, tmp_path / "kept"
    shutil.copyfile(module, copy)
    made = encode(copy, old, keep=True)
    assert made.kept is not None and made.ids is not None and made.ids.build_id is not None
    kept.write_bytes(MARK + made.kept)
    name, place = os.fsencode(copy), os.fsencode(kept)
    for link in (None, ("another", made.ids.pristine)):
        assert way.install([(name, made.stamp, place, MARK, link)]) == [None]
