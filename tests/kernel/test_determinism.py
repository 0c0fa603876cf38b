"""The same bytes for the same input, whatever came before, beside and around it."""

from __future__ import annotations

import hashlib
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from btfd import _core
from tests.kernel.conftest import Results
from tests.support.run import KBUILD_FEATURES, run

FEATURES = KBUILD_FEATURES.split(",")
#: How many modules, spread over all sizes.
SPREAD = 24
#: Encodes the files given and prints a digest of each result.
PROGRAM = """
import hashlib, sys
from btfd import _core
features, base, *files = sys.argv[1:]
base = _core.Base.load(base)
for file in files:
    done = _core.encode(file, base, features.split(","), lang_exclude=["rust"], threads=2)
    print(hashlib.sha256(done.btf).hexdigest())
"""


@pytest.fixture(scope="module")
def modules(results: Results) -> list[Path]:
    """A spread over all sizes."""
    root = results.tree.root
    every = sorted((root / m for m in results.tree.modules()), key=lambda path: path.stat().st_size)
    return every[:: max(1, len(every) // SPREAD)]


@pytest.fixture(scope="module")
def expected(results: Results, modules: list[Path]) -> dict[Path, bytes]:
    """What one run over all modules made of them."""
    root = results.tree.root
    return {path: results.path(str(path.relative_to(root))).read_bytes() for path in modules}


def encode(path: Path, base: _core.Base, threads: int = 1) -> bytes:
    return _core.encode(path, base, FEATURES, lang_exclude=["rust"], threads=threads).btf


def test_threads(results: Results, expected: dict[Path, bytes]) -> None:
    base = _core.Base.load(results.tree.vmlinux)
    for path, btf in expected.items():
        for threads in (1, 2, 8):
            assert encode(path, base, threads) == btf, (path.name, threads)


def test_any_order_over_one_base(
    results: Results, expected: dict[Path, bytes], tmp_path: Path
) -> None:
    """Again and again, after failures, with and without what was encoded before."""
    broken = tmp_path / "broken.ko"
    broken.write_bytes(next(iter(expected)).read_bytes()[:-100])
    foreign = tmp_path / "foreign.ko"
    foreign.write_bytes(b"\x7fELF" + bytes(60))
    shuffled = random.Random(7)
    for base in (_core.Base.load(results.tree.vmlinux), _core.Base.load(results.raw_base)):
        for _ in range(3):
            order = list(expected)
            shuffled.shuffle(order)
            for path in order:
                if shuffled.random() < 0.2:
                    with pytest.raises(_core.CoreError):
                        encode(shuffled.choice((broken, foreign)), base)
                assert encode(path, base) == expected[path], path.name


def test_side_by_side_over_one_base(results: Results, expected: dict[Path, bytes]) -> None:
    base = _core.Base.load(results.tree.vmlinux)
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda path: (path, encode(path, base, 2)), list(expected) * 2)
        for path, btf in made:
            assert btf == expected[path], path.name


@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONHASHSEED": "1", "MALLOC_PERTURB_": "165"},
        {"PYTHONHASHSEED": "2", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4096"},
        {"RAYON_NUM_THREADS": "5", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"},
    ],
    ids=["perturbed", "mapped", "uncached"],
)
def test_other_addresses(
    results: Results, expected: dict[Path, bytes], surroundings: dict[str, str]
) -> None:
    """Strings are told apart by where they stand in memory; the result must not tell where."""
    vmlinux = results.tree.vmlinux
    done = run(sys.executable, "-c", PROGRAM, KBUILD_FEATURES, vmlinux, *expected, env=surroundings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [hashlib.sha256(btf).hexdigest() for btf in expected.values()]
