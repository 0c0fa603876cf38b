"""`btfd watch --once` on the sample tree, with the real core."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support import sample
from tests.support.run import btfd, must


@pytest.fixture
def tree(sample_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(sample_tree, tmp_path / "tree", symlinks=True))


def once(tree: Path, *more: str) -> tuple[int, list[dict[str, object]]]:
    done = btfd("watch", tree, "--once", "--json", *more)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def paths(events: list[dict[str, object]], kind: str) -> set[object]:
    return {event["path"] for event in events if event["event"] == kind}


def test_a_second_run_encodes_nothing(tree: Path) -> None:
    status, events = once(tree, "--encode-base")
    assert status == 0
    assert [event["event"] for event in events].count("stale") == 1
    modules = set((tree / "modules.order").read_text().split())
    assert paths(events, "skipped") == set(sample.WITHOUT_DWARF)
    assert paths(events, "encoded") == modules - set(sample.WITHOUT_DWARF)
    status, events = once(tree, "--encode-base")
    assert status == 0
    assert [event["event"] for event in events] == ["base-found", "ready", "stopped"]


def test_only_what_lost_its_btf_is_encoded_again(tree: Path) -> None:
    once(tree, "--encode-base")
    module = "kernel/drivers/misc/bits.ko"
    must("objcopy", "--remove-section=.BTF", tree / module)
    status, events = once(tree)
    assert status == 0
    assert paths(events, "encoded") == {module}


def test_without_btf_in_the_base_there_is_nothing_to_do(tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*.ko")}
    status, events = once(tree)
    assert status == 1
    (missing,) = (event for event in events if event["event"] == "base-missing")
    assert "--encode-base" in str(missing["hint"])
    assert {path: path.read_bytes() for path in before} == before


def test_a_tree_without_any_dwarf_fails(tree: Path) -> None:
    once(tree, "--encode-base")
    shutil.rmtree(tree.parent / "cache")
    for module in (tree / "modules.order").read_text().split():
        must("strip", "--strip-debug", "--remove-section=.BTF", tree / module)
    status, events = once(tree)
    assert status == 1
    assert len(paths(events, "skipped")) == len(list(tree.rglob("*.ko")))
