"""When free memory is given back."""

import os
import sys
from pathlib import Path

import pytest

from btfd import memory
from btfd.memory import BURST, QUIET, WORTH, Rest
from tests.support.run import run

#: Eight threads that allocate at the same time, and how many arenas that took.
ARENAS = """
import ctypes, sys, threading
from btfd.memory import few_arenas
if sys.argv[2] != "0":
    few_arenas(int(sys.argv[2]))
meet = threading.Barrier(8)
def allocate():
    block = [bytes(1000 + n) for n in range(100)]
    meet.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
told = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, told)
libc.fclose(told)
print(open(sys.argv[1]).read().count("<heap nr="))
"""


class Machine:
    """Memory of a process that is no process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used = 100 << 20
        self.trims = 0
        monkeypatch.setattr(memory, "trim", self.trim)
        monkeypatch.setattr(memory, "resident", lambda: self.used)

    def trim(self) -> None:
        self.trims += 1
        self.used = 100 << 20


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_after_a_burst_at_once_and_not_before_its_end(machine: Machine) -> None:
    rest = Rest()
    rest.look(False, BURST, 0.0)
    assert machine.trims == 0
    rest.look(True, BURST, 0.1)
    assert machine.trims == 1
    assert rest.due is None
    rest.look(True, BURST, 0.2)
    assert machine.trims == 1


def test_after_less_than_a_burst_when_it_has_been_quiet(machine: Machine) -> None:
    rest = Rest()
    rest.look(True, BURST, 0.0)
    machine.used += WORTH
    rest.look(True, BURST + 1, 1.0)
    assert machine.trims == 1
    assert rest.due == 1.0 + QUIET
    rest.look(True, BURST + 2, 2.0)
    assert rest.due == 2.0 + QUIET, "it was not quiet"
    rest.look(True, BURST + 2, 1.9 + QUIET)
    assert machine.trims == 1
    rest.look(True, BURST + 2, 2.0 + QUIET)
    assert machine.trims == 2
    assert rest.due is None


def test_what_is_not_worth_it_is_left_and_wakes_nobody(machine: Machine) -> None:
    rest = Rest()
    rest.look(True, BURST, 0.0)
    machine.used += WORTH - 1
    rest.look(True, BURST + 1, 1.0)
    rest.look(True, BURST + 1, 1.0 + QUIET)
    assert machine.trims == 1
    assert rest.due is None


def test_trim_gives_back_what_was_freed() -> None:
    blocks = [bytes(16 << 10) for _ in range(4000)]
    kept = blocks[:-1:40]
    full = memory.resident()
    del blocks
    memory.trim()
    assert memory.resident() < full - (32 << 20)
    assert len(kept) == 100


def arenas(tmp_path: Path, threads: int, **environment: str) -> int:
    done = run(
        sys.executable, "-c", ARENAS, tmp_path / "told", str(threads),
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(os.confstr("CS_GNU_LIBC_VERSION") is None, reason="not the GNU C library")
def test_threads_that_come_and_go_share_few_arenas(tmp_path: Path) -> None:
    assert arenas(tmp_path, 0) > 3
    assert arenas(tmp_path, 2) <= 3
    assert arenas(tmp_path, 1, MALLOC_ARENA_MAX="6") > 2, "the user has said how many"
