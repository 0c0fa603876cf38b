"""Which files under a temporary name are ours and stale."""

import os
import subprocess
from pathlib import Path

import pytest

from btfd.leftovers import Leftover, sweep


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def left(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"half a module")
    return path


def test_of_processes_that_are_gone_and_of_this_one(tmp_path: Path, gone: int) -> None:
    paths = [left(tmp_path, f".btfd-{n}-7.tmp") for n in (gone, os.getpid(), 1 << 70)]
    assert set(sweep([str(tmp_path), str(tmp_path / "none")])) == {Leftover(str(p)) for p in paths}
    assert os.listdir(tmp_path) == []


def test_not_of_a_process_that_lives(tmp_path: Path) -> None:
    path = left(tmp_path, f".btfd-{os.getppid()}-0.tmp")
    assert list(sweep([str(tmp_path)])) == []
    assert path.exists()


def test_not_what_somebody_is_writing(tmp_path: Path, gone: int) -> None:
    path = left(tmp_path, f".btfd-{gone}-0.tmp")
    with open(path, "r+b"):
        assert list(sweep([str(tmp_path)])) == []
    assert list(sweep([str(tmp_path)])) == [Leftover(str(path))]


def test_not_what_only_looks_like_it(tmp_path: Path, gone: int) -> None:
    for name in (
        f".btfd-{gone}.tmp",
        f"btfd-{gone}-0.tmp",
        f".btfd-{gone}-0.tmp~",
        ".btfd-x-0.tmp",
    ):
        left(tmp_path, name)
    (tmp_path / f".btfd-{gone}-1.tmp").symlink_to(left(tmp_path, "m.ko"))
    os.mkfifo(tmp_path / f".btfd-{gone}-2.tmp")
    (tmp_path / f".btfd-{gone}-3.tmp").mkdir()
    before = sorted(os.listdir(tmp_path))
    assert list(sweep([str(tmp_path)])) == []
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_not_what_is_somebody_elses(tmp_path: Path, gone: int) -> None:
    path = left(tmp_path, f".btfd-{gone}-0.tmp")
    os.chown(path, 65534, 65534)
    assert list(sweep([str(tmp_path)])) == []
    assert path.exists()
