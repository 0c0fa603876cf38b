"""The benchmark's judgement of which pahole it may compare sizes with, and its figures."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bench.measure import CannotMeasure, Series, process
from bench.pahole import typedefs_again, why_not_comparable
from tests.support.btf import Btf

TYPEDEF = 8


def blob(names: list[str]) -> bytes:
    """BTF of typedefs of void; strings are the blob's own."""
    types, strings = b"", b"\0"
    for name in names:
        types += struct.pack("<III", len(strings), TYPEDEF << 24, 0)
        strings += name.encode() + b"\0"
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return head + types + strings


def split(base: Btf, names: list[str]) -> bytes:
    """As `blob`, over a base: string offsets go on where the base's end."""
    raw = bytearray(blob(names))
    for i in range(len(names)):
        at = 24 + 12 * i
        struct.pack_into("<I", raw, at, struct.unpack_from("<I", raw, at)[0] + base.end_of_strings)
    return bytes(raw)


@pytest.mark.parametrize(("again", "own", "comparable"), [(40, 3, False), (2, 30, True)])
def test_defect_is_noticed(again: int, own: int, comparable: bool, tmp_path: Path) -> None:
    base = Btf(blob([f"base{i}_t" for i in range(50)]))
    names = [f"base{i}_t" for i in range(again)] + [f"own{i}_t" for i in range(own)]
    result = tmp_path / "split.btf"
    result.write_bytes(split(base, names))
    assert typedefs_again(Btf(result.read_bytes(), base), base) == (again, again + own)
    assert (why_not_comparable(result, base) is None) == comparable


def test_series() -> None:
    series = Series()
    for wall in (0.003, 0.001, 0.002):
        series.add(wall, wall / 2)
    assert series.as_json() == {
        "median_ms": 2.0,
        "min_ms": 1.0,
        "max_ms": 3.0,
        "cpu_median_ms": 1.0,
        "runs": 3,
    }


def test_failing_program_is_no_measurement() -> None:
    with pytest.raises(CannotMeasure, match="oops"):
        process(["sh", "-c", "echo oops >&2; exit 3"], Series())
