"""The index: keeps, forgets, and survives its own destruction."""

import os
import sqlite3
from pathlib import Path

import pytest

from btfd.engine import stamp_of
from btfd.journal import Event, Journal
from btfd.store import BaseRecord, Held, Record, Store, default_path
from tests.policy.fake import FakeCore, link, make_tree
from tests.policy.test_daemon import M1, all_current, running

HELD = Held("base before", b"\0mark\xff")
RECORD = Record((1, 2**63 + 5, 3, -4, 5), "base", "options", "encoded", None, 7, 8, HELD)


def test_what_is_remembered_outlives_the_run(tmp_path: Path) -> None:
    path = str(tmp_path / "cache/index.sqlite")
    store = Store(path)
    store.remember("/t", {"a/\udcff.ko": RECORD, "gone.ko": RECORD})
    store.remember("/u", {"b.ko": RECORD})
    store.forget("/t", "gone.ko")
    store.remember_base("/t", BaseRecord((2**64 - 1, 2, 3, 4, 5), "digest", "6.1"))
    store.close()
    again = Store(path)
    assert again.modules("/t") == {"a/\udcff.ko": RECORD}
    assert again.base("/t") == BaseRecord((2**64 - 1, 2, 3, 4, 5), "digest", "6.1")
    assert again.base("/u") is None
    assert again.trouble is None


def test_two_runs_share_one_index(tmp_path: Path) -> None:
    path = str(tmp_path / "index.sqlite")
    one, two = Store(path), Store(path)
    one.remember("/t", {"a.ko": RECORD})
    two.remember("/t", {"b.ko": RECORD})
    assert set(one.modules("/t")) == set(two.modules("/t")) == {"a.ko", "b.ko"}


@pytest.mark.parametrize("how", ["garbage", "empty", "truncated", "middle", "foreign", "version"])
def test_a_ruined_index_is_replaced(tmp_path: Path, how: str) -> None:
    path = tmp_path / "index.sqlite"
    store = Store(str(path))
    for n in range(300):
        store.remember("/t", {f"m{n}.ko": RECORD})
    store.close()
    data = path.read_bytes()
    if how == "garbage":
        path.write_bytes(b"this is no database" * 100)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "middle":
        path.write_bytes(data[:4096] + os.urandom(len(data) - 8192) + data[-4096:])
    elif how == "foreign":
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE module (something TEXT)")
    else:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 999")
    again = Store(str(path))
    assert again.modules("/t") == {}
    again.remember("/t", {"a.ko": RECORD})
    again.close()
    assert Store(str(path)).modules("/t") == {"a.ko": RECORD}


#: What a column of each type may hold that we never write there; TEXT makes text of numbers.
WRONG: dict[str, list[object]] = {
    "INTEGER": ["text", b"blob", 0.5],
    "TEXT": [b"blob"],
    "BLOB": ["text", 7, 0.5],
}


@pytest.mark.parametrize("table", ["module", "link", "base"])
def test_rows_of_other_types_are_as_good_as_none(tmp_path: Path, table: str) -> None:
    def index(name: str) -> str:
        path = str(tmp_path / name)
        store = Store(path)
        store.remember("/t", {"a.ko": RECORD, "b.ko": RECORD})
        store.remember_link("/t", "a.ko", ("id", b"words"))
        store.remember_base("/t", BaseRecord((1, 2, 3, 4, 5), "digest", "6.1"))
        store.close()
        return path

    with sqlite3.connect(index("whole")) as db:
        columns = [(c[1], c[2]) for c in db.execute(f"PRAGMA table_info({table})")]
    assert len(columns) > 3
    harms = [(name, value) for name, kind in columns for value in WRONG[kind] if name != "tree"]
    for number, (column, value) in enumerate(harms):
        path = index(f"harmed {number}")
        with sqlite3.connect(path) as db:
            which = " WHERE path = CAST('a.ko' AS BLOB)" if table == "module" else ""
            done = db.execute(f"UPDATE {table} SET {column} = ?{which}", (value,))
            assert done.rowcount == 1
        store = Store(path)
        assert store.trouble is None
        assert (store.modules("/t") == {"b.ko": RECORD}) == (table == "module"), column
        assert (store.links("/t") == {}) == (table == "link"), column
        assert (store.base("/t") is None) == (table == "base"), column


def test_an_index_that_cannot_be_kept_still_answers(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(str(tmp_path / "file/index.sqlite"))
    assert store.trouble
    store.remember("/t", {"a.ko": RECORD})
    assert store.modules("/t") == {"a.ko": RECORD}


def test_destroyed_while_open(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    store = Store(str(path))
    store.remember("/t", {"a.ko": RECORD})
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").write_bytes(b"\xff" * 8192)
    store.remember("/t", {"b.ko": RECORD})
    assert "b.ko" in store.modules("/t")


def test_the_place_follows_systemd_and_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/btfd:/other")
    assert default_path() == "/var/cache/btfd/index.sqlite"
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_path() == "/x/btfd/index.sqlite"


def test_journal_generations_and_lost_history() -> None:
    journal = Journal(keep=3)
    seen: list[str] = []
    journal.subscribe(lambda event: seen.append(event.kind))
    start = journal.generation
    events = [journal.record(f"e{n}", "p", n=n) for n in range(5)]
    assert seen == ["e0", "e1", "e2", "e3", "e4"]
    assert [e.kind for e in journal.since(events[2].generation).events] == ["e3", "e4"]
    assert not journal.since(events[1].generation).fresh
    assert journal.since(start).fresh
    assert journal.since("other:3").fresh
    assert journal.since(None).fresh
    assert journal.since(journal.generation).events == ()
    assert events[0].as_json()["n"] == 0


def test_the_journal_is_bounded_in_bytes_by_dropping_the_oldest() -> None:
    journal = Journal(limit=10_000)
    events = [journal.record("e", "p", n=n, feedback=["x" * 1000]) for n in range(20)]
    history = journal.since(None)
    assert 5 <= len(history.events) < 10
    assert history.events == tuple(events[-len(history.events) :])
    assert not journal.since(events[-len(history.events) - 1].generation).fresh
    assert journal.since(events[-len(history.events) - 2].generation).fresh
    whole = journal.record("e", "p", feedback=["x" * 20_000])
    assert journal.since(whole.generation).events == ()
    assert journal.since(events[-1].generation).fresh, "what does not fit is lost, and said to be"


def test_a_journal_that_only_tells() -> None:
    journal, seen = Journal(keep=0), list[Event]()
    journal.subscribe(seen.append)
    events = [journal.record("e", "p", n=n) for n in range(3)]
    assert seen == events
    history = journal.since(events[0].generation)
    assert history.fresh and history.events == ()
    assert history.generation == events[-1].generation


def test_events_come_back_as_they_were() -> None:
    journal = Journal()
    event = journal.of("/t").record("e", "\udcff.ko", reason="é\udcff", ms={"a": 0.1}, none=None)
    assert journal.since(None).events == (event,)
    assert journal.since(None).generation == event.generation


def test_the_latest_events_of_a_path_of_one_tree() -> None:
    journal = Journal()
    for n in range(9):
        journal.of("/a").record("e", "p" if n % 2 else "q", n=n)
        journal.of("/b").record("e", "p", n=n)
    assert [e.fields["n"] for e in journal.latest("p", "/a", 2)] == [5, 7]
    assert journal.latest("r", "/a", 2) == ()


def test_what_is_recorded_while_somebody_asks_is_told_the_next_time() -> None:
    journal = Journal()
    journal.record("e0")
    history = journal.since(journal.generation)
    journal.record("e1")
    assert history.events == () and not history.fresh
    assert [e.kind for e in journal.since(history.generation).events] == ["e1"]


def test_the_index_knows_what_is_done_when_nothing_is_under_way(tmp_path: Path) -> None:
    root, index = make_tree(tmp_path / "tree"), str(tmp_path / "index.sqlite")
    with running(root, FakeCore(), index=index) as run:
        run.wait(lambda: all_current(run))
        link(root, M1, "struct edited")
        run.wait(lambda: run.kinds(M1).count("encoded") == 2)

        def told() -> bool:
            record = Store(index).modules(str(root)).get(M1)
            return record is not None and record.stamp == stamp_of(str(root / M1))

        run.wait(told)
