"""`btfd stats`: what a base saves, as text, JSON and a page."""

import html.parser
import json
import re
from pathlib import Path

import pytest

from btfd.__main__ import main
from btfd.page import render, size
from btfd.sizes import Module, largest, total
from tests.policy.fake import FakeCore, make_tree
from tests.support.run import btfd
from tests.support.sample import WITHOUT_DWARF, modules

A, B = Module("a.ko", 1000, 100, 3), Module("b.ko", 3000, 100, 2)
BAD = Module("c.ko", reason="it has no DWARF")


def test_sums_and_order() -> None:
    found = total([A, B, BAD])
    assert (found.modules, found.full, found.split, found.failed) == (2, 4000, 200, 1)
    assert found.saved == pytest.approx(0.95)
    assert largest([A, BAD, B], 5) == [B, A]
    assert largest([A, B], 1) == [B]
    assert total([]).saved == 0.0


def test_sizes_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 115_700_000)] == ["0 B", "999 B", "1.0 kB", "115.7 MB"]


class Strict(html.parser.HTMLParser):
    """Every element that must be closed is."""

    OPEN = frozenset(("meta", "th", "td", "tr", "p"))

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in self.OPEN:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.OPEN:
            assert self.stack.pop() == tag


def test_the_page_is_whole_and_names_are_text() -> None:
    odd = Module("<script>&.ko", 500, 24, 0)
    found = [A, B, BAD, odd]
    page = render("/a&b", "6.1 <x>", 2_300_000, found, largest(found, 10), total(found))
    reader = Strict()
    reader.feed(page)
    assert reader.stack == []
    assert "script" not in reader.seen
    assert reader.seen.count("circle") == 2 * 3 + 2
    assert "4.5 kB" in page
    assert "224 B" in page
    assert "Left out, having none: 1." in page
    # Lines at powers of ten that the sizes are around, and at no others.
    assert re.findall(r'text-anchor="end">([^<]*)<', page) == ["100 B", "1 kB"]
    assert page == render("/a&b", "6.1 <x>", 2_300_000, found, largest(found, 10), total(found))
    assert "<svg" not in render("/t", None, 1, [BAD], [], total([BAD]))


def test_of_a_tree(encoded_tree: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    before = {m: (encoded_tree / m).stat().st_mtime_ns for m in modules(encoded_tree)}
    done = btfd("stats", encoded_tree, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    *each, whole = map(json.loads, done.stdout.splitlines())
    assert {one["path"] for one in each} == set(before)
    left_out = {one["path"] for one in each if one["reason"]}
    assert left_out == WITHOUT_DWARF
    assert all(name in done.stderr for name in WITHOUT_DWARF)
    good = [one for one in each if not one["reason"]]
    assert all(one["full_bytes"] >= one["split_bytes"] >= 24 for one in good)
    assert whole["modules"] == len(good)
    assert whole["full_bytes"] == sum(one["full_bytes"] for one in good)
    assert whole["split_bytes"] == sum(one["split_bytes"] for one in good)
    assert page.read_text().startswith("<!doctype html>")
    after = {m: (encoded_tree / m).stat().st_mtime_ns for m in modules(encoded_tree)}
    assert after == before
    text = btfd("stats", encoded_tree, "--top", "2").stdout.splitlines()
    assert len(text) == 1 + 2 + 1 + 1
    assert text[-2].startswith(f"all {len(good)} modules")


def test_a_tree_without_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert main(["stats", str(tmp_path)], FakeCore()) == 2
    assert "no vmlinux" in capsys.readouterr().err
    root = make_tree(tmp_path / "tree")
    for module in root.rglob("*.ko"):
        module.unlink()
    assert main(["stats", str(root)], FakeCore()) == 2
    assert "no modules" in capsys.readouterr().err
