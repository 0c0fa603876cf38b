"""Edits of real drivers, built by kbuild: said is what drivers.py expects, and nothing else.

Each driver is built once as it is and once for each edit, all by one make, as external modules with
Debian's headers; that takes half a minute of CPU time.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from btfd.engine import Base, Graph, native
from tests.feedback.drivers import EDITS, SERIES, SOURCES
from tests.feedback.edits import Edit
from tests.feedback.graphs import encoded, said
from tests.kernel import headers
from tests.kernel.tree import KernelTree

pytestmark = pytest.mark.kernel

CASES = [(driver, one) for driver, edits in EDITS.items() for one in edits]


def name_of(driver: str, one: Edit | None) -> str:
    """Of the module: no edit, the driver as it is."""
    return f"{driver}_as_it_is" if one is None else f"{driver}_{one.name}".replace("-", "_")


def edited(text: str, one: Edit) -> str:
    for old, new in one.steps:
        assert old in text, f"{one.name}: {old!r} is not in the driver"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def built(kernel_tree: KernelTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all modules."""
    for tool in ("make", "gcc-12"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    try:
        of = headers.get(kernel_tree.release)
        texts = headers.sources(SERIES, list(SOURCES.values()))
    except headers.NoTree as error:
        pytest.skip(str(error))
    work = tmp_path_factory.mktemp("drivers")
    names = []
    for driver, edits in EDITS.items():
        text = texts[SOURCES[driver]]
        for one in (None, *edits):
            names.append(name_of(driver, one))
            (work / f"{names[-1]}.c").write_text(text if one is None else edited(text, one))
    (work / "Makefile").write_text(f"obj-m := {' '.join(f'{name}.o' for name in names)}\n")
    of.make(work, jobs=2)
    return work


@pytest.fixture(scope="module")
def base(kernel_tree: KernelTree) -> Base:
    return native().load_base(str(kernel_tree.vmlinux))


@pytest.fixture(scope="module")
def before(built: Path, base: Base) -> dict[str, Graph]:
    """The drivers as they are."""
    return {driver: encoded(base, built / f"{name_of(driver, None)}.ko") for driver in EDITS}


@pytest.mark.parametrize(("driver", "one"), CASES, ids=lambda v: getattr(v, "name", v))
def test_edit(driver: str, one: Edit, built: Path, base: Base, before: dict[str, Graph]) -> None:
    after = encoded(base, built / f"{name_of(driver, one)}.ko")
    assert said(before[driver], after) == one.said


def test_the_drivers_are_what_the_kernel_has(
    kernel_tree: KernelTree, base: Base, before: dict[str, Graph]
) -> None:
    """Built here and built by Debian: the same types, so that these edits are edits of the real."""
    for driver in EDITS:
        theirs = encoded(base, kernel_tree.root / kernel_tree.find(driver))
        structs = [line for line in said(theirs, before[driver]) if line[2:].startswith("struct")]
        assert structs == [], driver
