"""When something that was prepared may be installed."""

import os
from pathlib import Path
from typing import Any

import pytest

from btfd.encode import TICK_NS, BaseInfo, Prepared, Request, encode_file, encode_patiently, prepare
from btfd.engine import Encoded, Stamp, stamp_of
from btfd.errors import Refused
from btfd.kbuild import EncoderOptions
from btfd.resolver import Resolver
from tests.policy.fake import FakeBase, FakeCore, link

OPTIONS = EncoderOptions(("var",), (), "a test")
OVER_ONE = Request(OPTIONS, BaseInfo("vmlinux", FakeBase(b"one")))


@pytest.fixture
def path(tmp_path: Path) -> str:
    link(tmp_path, "m.ko", "first")
    return str(tmp_path / "m.ko")


def prepared_later(core: FakeCore, path: str) -> Prepared:
    """As if reading had begun when the file was one tick old."""
    found = prepare(core, path, OVER_ONE)
    assert found is not None
    return found._replace(began=found.made.stamp[4] + TICK_NS)


def test_it_stands_while_file_and_request_are_the_same(path: str) -> None:
    found = prepared_later(FakeCore(), path)
    stamp = stamp_of(path)
    assert stamp is not None
    assert found.still(OVER_ONE, stamp)
    assert found.still(OVER_ONE._replace(threads=7), stamp)
    other = BaseInfo("vmlinux", FakeBase(b"two"))
    assert not found.still(OVER_ONE._replace(base=other), stamp)
    assert not found.still(
        OVER_ONE._replace(options=EncoderOptions(("float",), (), "a test")), stamp
    )
    assert not found.still(OVER_ONE._replace(resolver=Resolver("/bin/other")), stamp)
    assert not found.still(OVER_ONE._replace(full=True), stamp), "it does not know its full size"
    knows = found._replace(request=OVER_ONE._replace(full=True))
    assert knows.still(OVER_ONE, stamp)
    assert not found.still(OVER_ONE, None)
    for n in range(5):
        changed: Stamp = tuple(v + (i == n) for i, v in enumerate(stamp))  # type: ignore[assignment]
        assert not found.still(OVER_ONE, changed)


def test_what_was_read_within_a_tick_of_a_write_is_not_trusted(path: str) -> None:
    found = prepared_later(FakeCore(), path)
    assert not found._replace(began=found.began - 1).still(OVER_ONE, stamp_of(path))
    assert not found._replace(began=0).still(OVER_ONE, stamp_of(path)), "a clock that jumped"


def test_it_is_installed_without_another_encode(path: str) -> None:
    core = FakeCore()
    outcome = encode_file(core, path, OVER_ONE, prepared=prepared_later(core, path))
    assert outcome.status == "encoded"
    assert outcome.stamp == stamp_of(path)
    assert core.encoded["m.ko"] == 1


def test_of_another_file_it_is_made_anew(path: str, tmp_path: Path) -> None:
    core = FakeCore()
    found = prepared_later(core, path)
    link(tmp_path, "m.ko", "second")
    assert encode_file(core, path, OVER_ONE, prepared=found).status == "encoded"
    assert core.encoded["m.ko"] == 2
    again = encode_file(FakeCore(), path, OVER_ONE)
    assert again.status == "unchanged", "what the second file asks for"


def test_it_is_dropped_when_nobody_wants_it(path: str) -> None:
    core = FakeCore()
    found = prepared_later(core, path)
    outcome = encode_file(core, path, OVER_ONE, prepared=found, wanted=lambda: False)
    assert outcome.status == "dropped"
    assert prepare(core, path, OVER_ONE, wanted=lambda: False) is None


class Halfway(FakeCore):
    """Reads a file of which the second half is written, and the file closed, a moment later."""

    def encode(self, path: str, *rest: Any, **more: Any) -> Encoded:
        with open(path, "a") as f:
            f.write("the second half\n")
        raise Refused("cut off", kind="elf", path=path)


def test_what_was_written_meanwhile_has_not_failed(path: str) -> None:
    assert encode_file(Halfway(), path, OVER_ONE).status == "busy"


def test_what_is_gone_meanwhile_has_not_failed(path: str) -> None:
    class Gone(FakeCore):
        def encode(self, path: str, *rest: Any, **more: Any) -> Encoded:
            os.unlink(path)
            raise Refused("no such file", kind="io", path=path)

    assert encode_file(Gone(), path, OVER_ONE).status == "busy"


def test_who_waits_for_a_busy_file_has_it_tried_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = FakeCore()
    core.busy["m.ko"] = 3
    assert encode_patiently(core, path, OVER_ONE).status == "encoded"
    assert core.encoded["m.ko"] == 4
    monkeypatch.setattr("btfd.encode.PATIENCE", 0.1)
    core.busy["m.ko"] = 1_000_000
    link(Path(path).parent, "m.ko", "second")
    assert encode_patiently(core, path, OVER_ONE).status == "busy"
