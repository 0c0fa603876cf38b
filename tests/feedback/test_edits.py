"""Scripted edits: compiled before and after, encoded, compared; said is what edits.py expects."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from btfd.engine import Base, Graph, native
from tests.feedback.edits import EDITS, Edit
from tests.feedback.graphs import encoded, said
from tests.support.sample import SOURCES

DRIVER = Path(__file__).with_name("driver.c")
COMPILE = (
    *("gcc", "-std=gnu11", "-O2", "-g", "-ffreestanding", "-nostdinc", "-fno-pic", "-w"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", f"-I{SOURCES / 'include'}"),
)


def compiled(folder: Path, source: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "driver.c").write_text(source)
    subprocess.run([*COMPILE, "-c", "driver.c", "-o", "driver.ko"], cwd=folder, check=True)
    return folder / "driver.ko"


@pytest.fixture(scope="module")
def base(encoded_tree: Path) -> Base:
    return native().load_base(str(encoded_tree / "vmlinux"))


@pytest.fixture(scope="module")
def before(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return encoded(base, compiled(tmp_path_factory.mktemp("before"), DRIVER.read_text()))


def edited(one: Edit) -> str:
    text = DRIVER.read_text()
    for old, new in one.steps:
        assert text.count(old) >= 1, f"{one.name}: {old!r} is not in driver.c"
        text = text.replace(old, new, 1)
    return text


@pytest.mark.parametrize("one", EDITS, ids=lambda one: one.name)
def test_edit(one: Edit, base: Base, before: Graph, tmp_path: Path) -> None:
    after = encoded(base, compiled(tmp_path, edited(one)))
    assert said(before, after) == one.said


def test_there_are_enough_kinds_of_edit() -> None:
    assert len({one.name for one in EDITS}) == len(EDITS) >= 40
    assert sum(not one.said for one in EDITS) >= 5
