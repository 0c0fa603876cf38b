"""When free memory is given back."""

import pytest

from btfd import memory
from btfd.memory import BURST, QUIET, WORTH, Rest


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
