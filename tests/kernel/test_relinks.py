"""Units that are remembered, of real modules that are edited: what a fresh encode gives."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.relink import Edits
from btfd import _core
from tests.kernel.conftest import Results
from tests.support.run import KBUILD_FEATURES

#: Modules of many units.
MODULES = ("xfs", "mlx5_core", "nf_conntrack", "sctp", "bluetooth", "cifs", "btrfs", "ext4")
EDITS = 3


def encode(module: Path, base: _core.Base, remembered: _core.Remembered | None) -> _core.Encoded:
    features = KBUILD_FEATURES.split(",")
    return _core.encode(module, base, features, keep=True, remembered=remembered)


def test_an_edit_of_one_unit_leaves_the_others_unread(results: Results, tmp_path: Path) -> None:
    base = _core.Base.from_bytes(results.raw_base.read_bytes())
    found = [m for m in results.tree.modules() if Path(m).stem in MODULES]
    assert len(found) > 3
    for name in found:
        edits = Edits(results.tree.root / name, tmp_path / Path(name).name)
        made = encode(edits.module, base, _core.Remembered())
        assert made.units[1] == 0
        for _ in range(EDITS):
            edits.edit()
            made = encode(edits.module, base, made.remembered)
            units, spared = made.units
            # Some have a struct passed on the stack, or are written in assembler.
            assert units - 1 <= spared + 2, f"{name}: {spared} of {units}"
            fresh = encode(edits.module, base, None)
            assert (made.btf, made.kept) == (fresh.btf, fresh.kept), name
        edits.module.unlink()


def test_another_module_is_nothing_that_is_remembered(results: Results, tmp_path: Path) -> None:
    base = _core.Base.from_bytes(results.raw_base.read_bytes())
    paths = [m for m in results.tree.modules() if Path(m).stem in MODULES[:2]]
    first, second = (results.tree.root / path for path in paths)
    remembered = encode(first, base, _core.Remembered()).remembered
    copy = tmp_path / "other.ko"
    shutil.copyfile(second, copy)
    made = encode(copy, base, remembered)
    assert made.btf == encode(copy, base, None).btf
