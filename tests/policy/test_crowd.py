"""All modules follow a change of the base, many at a time, and nothing else waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from btfd import schedule, work
from tests.policy.fake import FakeCore, link, link_base, make_tree
from tests.policy.test_daemon import Run, all_current, running

COUNT = 12
MODULES = tuple(f"drivers/d{n}/m{n}.ko" for n in range(COUNT))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(work, "CROWD", 4)
    return make_tree(tmp_path / "tree", COUNT)


def at_rest(run: Run) -> bool:
    """All is done, and the echoes of what we wrote are gone."""
    assert run.daemon is not None
    return all_current(run, MODULES) and run.daemon.work.scheduler.idle


def moved(run: Run) -> list[str]:
    """Modules with BTF over a later base, in the order of their events."""
    events = run.journal.since(None).events
    changed = (e for e in events if e.fields.get("because") == "base changed")
    return [e.path for e in changed if e.kind == "encoded" and e.path is not None]


@contextmanager
def crowd_under_way(root: Path, tmp_path: Path) -> Iterator[tuple[FakeCore, Run, int]]:
    """One thread that is held back at the first modules that another base has moved; `core.gate`
    lets it go on. With them what was begun before: how much of `core.order`."""
    core = FakeCore()
    with running(root, core, jobs=1, types=tmp_path / "types") as run:
        run.wait(lambda: at_rest(run))
        core.gate.clear()
        begun = len(core.order)
        link_base(root, "two")
        run.wait(lambda: len(core.order) > begun)
        yield core, run, begun


def test_all_are_moved_and_none_is_encoded_again(root: Path, tmp_path: Path) -> None:
    core = FakeCore()
    with running(root, core, types=tmp_path / "types") as run:
        run.wait(lambda: at_rest(run))
        for number, content in enumerate(("two", "three", "one"), 1):
            link_base(root, content)
            run.wait(lambda number=number: len(moved(run)) == number * COUNT)  # type: ignore[misc]
            run.wait(lambda: at_rest(run))
    assert set(core.encoded.values()) == {1}
    assert set(core.moved.values()) == {3}
    assert sorted(moved(run)) == sorted(3 * MODULES)


def test_what_changed_while_nobody_looked_is_moved_by_the_next_run(
    root: Path, tmp_path: Path
) -> None:
    core, index = FakeCore(), str(tmp_path / "index.sqlite")
    with running(root, core, index, types=tmp_path / "types") as run:
        run.wait(lambda: at_rest(run))
    link_base(root, "two")
    link(root, MODULES[3], "edited")
    for expected in (COUNT - 1, 0):
        with running(root, core, index, types=tmp_path / "types") as run:
            run.wait(lambda: at_rest(run))
        assert len(moved(run)) == expected
    assert sum(core.encoded.values()) == COUNT + 1
    assert sum(core.moved.values()) == COUNT - 1


def test_those_that_cannot_be_moved_are_encoded(root: Path, tmp_path: Path) -> None:
    core = FakeCore(unsure={"m1.ko", "m5.ko", "m6.ko"})
    with running(root, core, types=tmp_path / "types") as run:
        run.wait(lambda: at_rest(run))
        link_base(root, "two")
        run.wait(lambda: at_rest(run))
    assert {name for name, count in core.encoded.items() if count == 2} == core.unsure
    assert sum(core.moved.values()) == COUNT - len(core.unsure)


def test_an_edit_goes_before_the_rest_of_the_crowd(root: Path, tmp_path: Path) -> None:
    with crowd_under_way(root, tmp_path) as (core, run, begun):
        link(root, MODULES[9], "edited")
        time.sleep(0.3)
        core.gate.set()
        run.wait(lambda: at_rest(run))
    assert core.order[begun : begun + 5] == ["m0.ko", "m1.ko", "m10.ko", "m11.ko", "m9.ko"]


def test_a_newer_base_overtakes_a_crowd(root: Path, tmp_path: Path) -> None:
    with crowd_under_way(root, tmp_path) as (core, run, _):
        link_base(root, "three")
        run.wait(lambda: run.kinds().count("base-changed") == 2)
        core.gate.set()
        run.wait(lambda: at_rest(run))
    # The echo of a write that was overtaken may have one of them encoded.
    done = sum(core.moved.values()) + sum(core.encoded.values()) - COUNT
    assert done == 4 + COUNT, "those under way, and all of them again"
    assert len(moved(run)) == COUNT, "what is overtaken is not told"


def test_a_full_disk_is_met_by_a_crowd_and_overcome(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FAILED_FIRST", 0.05)
    monkeypatch.setattr(schedule.Breaker, "FIRST", 0.05)
    monkeypatch.setattr(schedule.Breaker, "LAST", 0.2)
    core = FakeCore()
    with running(root, core, types=tmp_path / "types") as run:
        run.wait(lambda: at_rest(run))
        core.full = True
        link_base(root, "two")
        run.wait(lambda: run.kinds().count("failed") >= 3)
        core.full = False
        run.wait(lambda: at_rest(run))
    assert run.kinds().count("failed") <= COUNT, "once a module"


def test_the_news_of_the_base_come_after_the_modules(root: Path, tmp_path: Path) -> None:
    core = FakeCore()
    with running(root, core, types=tmp_path / "types") as run:
        run.wait(lambda: at_rest(run))
        link_base(root, "two")
        run.wait(lambda: "base-types" in run.kinds())
        assert len(moved(run)) == COUNT
