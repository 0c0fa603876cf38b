"""The benchmarks' judgement: which pahole sizes are compared with, what is flat; their figures."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from bench.flat import LEAK, NOISE, Meter, Rest, table, verdict
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


def rests(*held: int, every: int) -> list[Rest]:
    """A service at rest, each time after so many more encodes."""
    return [Rest(n, n * every, h, 12, 6) for n, h in enumerate(held)]


def test_the_lowest_rests_are_compared_and_the_first_third_is_not() -> None:
    filling = [10 << 20, 20 << 20, 30 << 20, 40 << 20]
    noisy = [n << 20 for n in (60, 50, 70, 55, 80, 90, 52, 65)]
    flat, why = verdict(rests(*filling, *noisy, every=2000))
    assert flat, why
    assert "50.0 MiB in the second third, 52.0 in the last" in why


@pytest.mark.parametrize(("leak", "flat"), [(LEAK, False), (LEAK // 8, True)])
def test_a_leak_shows_by_what_was_done(leak: int, flat: bool) -> None:
    every = 2000
    held = [(50 << 20) + n * every * leak + n % 3 * (NOISE // 4) for n in range(15)]
    assert verdict(rests(*held, every=every))[0] == flat


def test_where_little_was_done_nothing_is_proved() -> None:
    assert not verdict(rests(*[50 << 20] * 15, every=100))[0]
    assert not verdict(rests(*[50 << 20] * 5, every=100_000))[0]


def test_descriptors_that_stay_open_are_a_leak() -> None:
    steady = rests(*[50 << 20] * 12, every=9000)
    assert verdict(steady)[0]
    flat, why = verdict([*steady[:8], *(replace(r, descriptors=13) for r in steady[8:])])
    assert not flat
    assert "12 descriptors have become 13" in why


def test_a_process_is_measured() -> None:
    meter = Meter(os.getpid())
    before = meter.rest(1.4, 3)
    block = bytearray(b"x") * (32 << 20)
    with open(os.devnull):
        after = meter.rest(2.6, 4)
    assert after.held >= before.held + len(block) - NOISE
    assert after.descriptors == before.descriptors + 1
    assert (after.seconds, after.encoded, after.threads) == (3, 4, before.threads)
    assert meter.resident() > len(block)
    assert list(table([before]))[1][:2] == [1, 3]
