"""News of a base: bounded, counted, and never more than one comparison at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from btfd.basenews import BaseNews, compare
from btfd.engine import Graph
from btfd.errors import Refused
from btfd.feedback import MOST_TOLD
from btfd.journal import Journal
from tests.policy.fake import FakeBase, FakeCore


def added(name: str) -> dict[str, Any]:
    return {
        "kind": "struct",
        "name": name,
        "change": "added",
        "layer": "module",
        "shadows": False,
        "size": [None, 8],
        "text": [None, None],
        "details": [],
    }


@dataclass
class Slow(FakeCore):
    """Tells when a comparison has begun, and waits to be let on."""

    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    compared: list[tuple[bytes, bytes]] = field(default_factory=list)
    many: int = 1

    def diff(self, old: Graph, new: Graph) -> list[dict[str, Any]]:
        self.begun.release()
        assert self.go.acquire(timeout=30)
        self.compared.append((old[0], new[0]))
        if new[0] == b"bad":
            raise Refused("unknown kind", kind="btf")
        return [added(f"s{n}") for n in range(self.many)]


def test_what_is_told_is_bounded_and_all_is_counted() -> None:
    core = Slow(many=3 * MOST_TOLD)
    core.go.release()
    told, counts = compare(core, FakeBase(b"a"), FakeBase(b"b"))
    assert len(told) == MOST_TOLD
    assert {change["layer"] for change in told} == {"base"}
    assert counts == {"changed": 0, "added": 3 * MOST_TOLD, "removed": 0}


def test_bases_that_are_overtaken_are_passed_over() -> None:
    core, journal = Slow(), Journal()
    recorded = threading.Semaphore(0)
    journal.subscribe(lambda _: recorded.release())
    news = BaseNews(core, journal)
    bases = [FakeBase(name) for name in (b"a", b"b", b"c", b"d")]
    news.changed("vmlinux", bases[0], bases[1])
    news.tell()
    assert core.begun.acquire(timeout=30)
    news.changed("vmlinux", bases[1], bases[2])
    news.changed("vmlinux", bases[2], bases[3])
    news.tell()
    core.go.release(2)
    assert recorded.acquire(timeout=30) and recorded.acquire(timeout=30)
    assert core.compared == [(b"a", b"b"), (b"b", b"d")]
    events = journal.since(None).events
    assert [e.kind for e in events] == ["base-types", "base-types"]
    assert events[1].fields["before"] == bases[1].digest
    assert events[1].fields["digest"] == bases[3].digest


def test_nothing_is_compared_before_it_is_to_be_told() -> None:
    core, journal = Slow(), Journal()
    recorded = threading.Semaphore(0)
    journal.subscribe(lambda _: recorded.release())
    news = BaseNews(core, journal)
    core.go.release(2)
    news.tell()
    news.changed("vmlinux", FakeBase(b"a"), FakeBase(b"b"))
    news.changed("vmlinux", FakeBase(b"b"), FakeBase(b"c"))
    news.tell()
    assert recorded.acquire(timeout=30)
    assert core.compared == [(b"a", b"c")]


def test_what_cannot_be_compared_is_passed_over() -> None:
    core, journal = Slow(), Journal()
    recorded = threading.Semaphore(0)
    journal.subscribe(lambda _: recorded.release())
    news = BaseNews(core, journal)
    core.go.release(2)
    news.changed("vmlinux", FakeBase(b"a"), FakeBase(b"bad"))
    news.tell()
    assert core.begun.acquire(timeout=30)
    news.changed("vmlinux", FakeBase(b"bad"), FakeBase(b"c"))
    news.tell()
    assert recorded.acquire(timeout=30)
    assert [e.fields["digest"] for e in journal.since(None).events] == [FakeBase(b"c").digest]
