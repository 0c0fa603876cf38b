"""Ranking, topics, memory, baselines."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from btfd import baseline
from btfd.errors import Problem
from btfd.feedback import Change, Memory, ranked
from tests.policy.fake import FakeBase, FakeCore


def change(kind: str, name: str, fate: str = "changed", *whats: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "change": fate,
        "layer": "module",
        "shadows": False,
        "size": [8, 8],
        "text": [None, None],
        "details": [{"what": w, "name": "", "old": 1, "new": 2} for w in whats],
    } | more


def test_the_edit_comes_before_what_follows_and_what_is_new_comes_last() -> None:
    values = [
        change("struct", "added", "added"),
        change("struct", "around", "changed", "size", "member-resized"),
        change("var", "moved", "changed", "place"),
        change("func", "called", "changed", "param-added"),
        change("struct", "edited", "changed", "size", "member-added"),
        change("struct", "below", "changed", "member-added", layer="base"),
        change("struct", "differs", "added", shadows=True),
    ]
    order = ["differs", "edited", "called", "around", "below", "added", "moved"]
    assert [c.name for c in ranked(values)] == order
    assert [c.name for c in ranked(reversed(values))] == order


@pytest.mark.parametrize(
    ("value", "topics"),
    [
        (change("struct", "s", "changed", "member-moved"), {"layout"}),
        (change("struct", "s", "changed", "tag-added"), set()),
        (change("union", "u", "removed"), {"layout", "removed"}),
        (change("struct", "s", "added", shadows=True), {"added", "shadow"}),
        (change("func", "f", "changed", "returns"), {"proto"}),
        (change("func", "f", "added"), {"added"}),
        (change("enum", "e", "changed", "value-added"), {"enum"}),
        (change("typedef", "t", "changed", "type"), {"typedef"}),
        (change("var", "v", "changed", "place"), {"percpu"}),
    ],
)
def test_topics(value: dict[str, Any], topics: set[str]) -> None:
    assert Change.of(value).topics - {"any"} == topics


def test_json_comes_back() -> None:
    value = change("struct", "s", "changed", "size") | {
        "file": "a.c",
        "line": 3,
        "column": 0,
        "lines": {"m": ["a.c", 4, 2]},
    }
    assert Change.of(Change.of(value).as_json()) == Change.of(value)


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory, core, base = Memory(limit=30), FakeCore(), FakeBase(b"")
    for name in "abcd":
        assert memory.news(core, name, (b"0123456789", base, None)) is None
    assert [memory.knows(name) for name in "abcd"] == [False, True, True, True]
    assert memory.news(core, "b", (b"0123456789", base, None)) == []
    news = memory.news(core, "b", (b"01234", base, None))
    assert news is not None and news[0]["file"] == "s.c"
    memory.forget("b")
    assert memory.news(core, "b", (b"01", base, None)) is None


def test_memory_holds_two_bases_and_no_result_over_an_older_one() -> None:
    memory, core = Memory(), FakeCore()
    held = []
    for n in range(4):
        base = FakeBase(b"base %d" % n)
        held.append(weakref.ref(base))
        assert memory.news(core, f"only over {n}", (b"0", base, None)) is None
        memory.news(core, "always", (b"%d" % n, base, None))
        assert memory.knows("always")
    del base
    assert [ref() is not None for ref in held] == [False, False, True, True]
    assert [memory.knows(f"only over {n}") for n in range(4)] == [False, False, True, True]
    memory.forget("only over 2")
    assert held[2]() is None, "nothing stands on it"


def test_a_base_that_was_let_go_is_that_of_the_next_result() -> None:
    memory, core = Memory(), FakeCore()
    base = FakeBase(b"base")
    gone = weakref.ref(base)
    memory.remember("a", (b"0", base, None))
    memory.remember("b", (b"0", base, None))
    memory.release_bases()
    del base
    assert gone() is None
    assert memory.news(core, "a", (b"01", FakeBase(b"base"), None)), "loaded again"
    memory.release_bases()
    assert memory.news(core, "b", (b"01", FakeBase(b"other"), None)) is None, "nothing to compare"


def test_a_baseline_comes_back_and_is_the_same_bytes(tmp_path: Path) -> None:
    core, base = FakeCore(), FakeBase(b"vmlinux")
    path = str(tmp_path / "b")
    shots = [
        baseline.Snapshot("b.ko", (b"split", base, None)),
        baseline.Snapshot("a.ko", (b"other", None, b"below")),
    ]
    baseline.save(core, path, shots)
    first = Path(path).read_bytes()
    assert baseline.load(path) == [
        baseline.Snapshot("a.ko", (b"other", None, b"below")),
        baseline.Snapshot("b.ko", (b"split", None, b"distilled")),
    ]
    baseline.save(core, path, shots[::-1])
    assert Path(path).read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"{}"])
def test_what_is_no_baseline_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(content)
    with pytest.raises(Problem, match="not a baseline"):
        baseline.load(str(path))
