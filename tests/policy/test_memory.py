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
from btfd.memory import bound_arenas
if sys.argv[2] != "0":
    bound_arenas(int(sys.argv[2]))
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

#: Bytes that stay resident when a thread has freed all that it had, after a trim.
ENDS = """
import sys, threading
from btfd import memory
if sys.argv[1] != "0":
    memory.bound_arenas(int(sys.argv[1]))
bytes(30 << 20)  # unmapped again, it raises the limits of the C library
freed, over = threading.Event(), threading.Event()
def allocate():
    blocks = [bytes(16 << 10) for _ in range(2000)]
    blocks.clear()
    freed.set()
    over.wait()
before = memory.resident()
thread = threading.Thread(target=allocate)
thread.start()
freed.wait()
memory.trim()
print(memory.resident() - before)
over.set()
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


def told(program: str, *arguments: str | Path, **environment: str) -> int:
    done = run(sys.executable, "-c", program, *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


glibc = pytest.mark.skipif(
    os.confstr("CS_GNU_LIBC_VERSION") is None, reason="not the GNU C library"
)


@glibc
def test_threads_that_come_and_go_share_few_arenas(tmp_path: Path) -> None:
    at = tmp_path / "told"
    assert told(ARENAS, at, "0") > 3
    assert told(ARENAS, at, "2") <= 3
    assert told(ARENAS, at, "1", MALLOC_ARENA_MAX="6") > 2, "the user has said how many"
    assert told(ARENAS, at, "1", GLIBC_TUNABLES="glibc.malloc.arena_max=6") > 2


@glibc
def test_the_free_end_of_an_arena_goes_back() -> None:
    assert told(ENDS, "0") > 4 * memory.FREE, "what it is there for"
    assert told(ENDS, "2") < 2 * memory.FREE
