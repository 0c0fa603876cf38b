"""The live view: what fits into a terminal, and what comes first."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest

from btfd.cli import top
from btfd.cli.output import Output
from btfd.journal import Event

LONG = "drivers/net/ethernet/mellanox/mlx5/core/mlx5_core.ko"


def view() -> top.View:
    tree = {
        "root": "/home/somebody/linux/build",
        "state": "ready",
        "reason": None,
        "modules": {"encoded": 2, "failed": 1, "stale": 0},
        "queued": 0,
        "running": 1,
    }
    status: dict[str, Any] = {
        "version": "1",
        "process": 7,
        "started": time.time() - 60,
        "resident_bytes": 50 << 20,
        "trees": [tree],
    }
    failed = [{"module": "fs/a.ko", "reason": "truncated ELF file " * 9, "because": None}]
    one = top.View(status, failed)
    sizes = {"split_bytes": 3294, "full_bytes": 252982, "feedback": []}
    counts = {"changed": 3, "added": 1, "removed": 0}
    one.take(
        [
            Event("1", 0.0, "encoded", LONG, {"milliseconds": {"dwarf": 279.0}, **sizes}),
            Event("2", 1.0, "kept", "fs/kept.ko", {"milliseconds": {}}),
            Event("3", 2.0, "base-types", "vmlinux", {"counts": counts, "feedback": []}),
        ]
    )
    return one


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 10), (80, 24), (200, 50)])
def test_it_fits(width: int, height: int) -> None:
    lines = top.render(view(), width, height, Output(stdout=io.StringIO()))
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_what_it_says() -> None:
    lines = top.render(view(), 200, 50, Output(stdout=io.StringIO()))
    assert "  2 encoded, 1 failed, 0 queued, 1 running" in lines
    text = "\n".join(lines)
    # Names have a column of their own, as wide as the longest.
    assert f"  {LONG}     279.0 ms  dwarf 279.0" in lines
    assert f"{LONG}     279.0 ms      3294 bytes of 252982" in text
    assert f"vmlinux{' ' * (len(LONG) - 7)}  3 changed, 1 added" in text
    assert "and 3 changed, 1 added more" in text
    assert "fs/kept.ko" not in text
    assert text.index("failed (1)") < text.index("slowest") < text.index("\nlast")


def test_names_are_cut_from_the_left_where_there_is_no_room() -> None:
    lines = top.render(view(), 80, 24, Output(stdout=io.StringIO()))
    assert any("…ox/mlx5/core/mlx5_core.ko" in line for line in lines)
