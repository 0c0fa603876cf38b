"""What is kept of encodes: moved to another base where all is as it was, else not believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from btfd.encode import BaseInfo, Request, encode_file
from btfd.engine import stamp_of
from btfd.kbuild import EncoderOptions
from btfd.kept import TYPES, Kept
from tests.policy.fake import FakeBase, FakeCore

ONE, TWO = FakeBase(b"one"), FakeBase(b"two")


class Place:
    """A module, and where its types are kept."""

    def __init__(self, tmp_path: Path) -> None:
        self.core = FakeCore()
        self.folder = tmp_path / "types"
        self.kept = Kept(str(self.folder))
        self.module = tmp_path / "m.ko"
        self.module.write_text("src a\n")

    def encode(self, base: FakeBase, features: tuple[str, ...] = ()) -> bytes:
        """Encodes over a base, and gives the BTF that is in the module then."""
        options = EncoderOptions(features, (), "test")
        request = Request(options, BaseInfo("vmlinux", base), kept=self.kept)
        outcome = encode_file(self.core, str(self.module), request)
        assert outcome.status == "encoded", outcome
        assert outcome.stamp == stamp_of(str(self.module))
        return self.core.read_btf(str(self.module))

    @property
    def counts(self) -> tuple[int, int]:
        """How often the module was encoded, and how often moved."""
        return self.core.encoded["m.ko"], self.core.moved["m.ko"]

    def heads(self) -> list[Path]:
        return [p for p in self.folder.iterdir() if p.is_file() and p.suffix != TYPES]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_module_moves_from_base_to_base_and_back(place: Place) -> None:
    first = place.encode(ONE)
    assert place.encode(TWO) == FakeCore.btf_of("a", TWO, "")
    assert place.encode(FakeBase(b"three")) == FakeCore.btf_of("a", FakeBase(b"three"), "")
    assert place.encode(ONE) == first
    assert place.counts == (1, 3)


def test_another_process_finds_them(place: Place) -> None:
    place.encode(ONE)
    place.kept = Kept(str(place.folder))
    place.encode(TWO)
    assert place.counts == (1, 1)


def test_what_the_core_cannot_tell_is_encoded(place: Place) -> None:
    place.core.unsure.add("m.ko")
    place.encode(ONE)
    assert place.encode(TWO) == FakeCore.btf_of("a", TWO, "")
    assert place.counts == (2, 0)


def test_another_state_of_the_file_is_encoded(place: Place) -> None:
    place.encode(ONE)
    place.module.write_text("src b\n")
    assert place.encode(TWO) == FakeCore.btf_of("b", TWO, "")
    assert place.counts == (2, 0)


def test_other_options_are_encoded(place: Place) -> None:
    place.encode(ONE)
    place.encode(TWO, ("float",))
    assert place.counts == (2, 0)


@pytest.mark.parametrize("harm", ["types", "head", "other types", "fields", "base", "all"])
def test_what_is_damaged_or_gone_is_encoded(place: Place, harm: str) -> None:
    place.encode(ONE)
    (head,) = place.heads()
    types = head.with_name(head.name + TYPES)
    match harm:
        case "types":
            types.write_bytes(types.read_bytes()[:-1])
        case "head":
            head.write_bytes(head.read_bytes()[:-1])
        case "other types":
            types.write_bytes(b"m.ko|other")
        case "fields":
            magic, _, line = head.read_bytes().partition(b"\n")
            fields = json.loads(line)
            del fields["types"]
            head.write_bytes(magic + b"\n" + json.dumps(fields).encode())
        case "base":
            for base in (place.folder / "bases").iterdir():
                base.unlink()
        case "all":
            head.unlink()
            types.unlink()
    assert place.encode(TWO) == FakeCore.btf_of("a", TWO, "")
    assert place.counts == (2, 0)


def test_a_folder_that_cannot_be_is_no_harm(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "file").write_text("")
    place.kept = Kept(str(tmp_path / "file" / "types"))
    place.encode(ONE)
    place.encode(TWO)
    assert place.counts == (2, 0)


def test_few_bases_are_kept_those_used_last(place: Place) -> None:
    for number in range(6):
        place.module.write_text(f"src {number}\n")
        place.encode(FakeBase(b"%d" % number))
    assert len(list((place.folder / "bases").iterdir())) == 3
    assert (place.folder / "bases" / f"{FakeBase(b'5').digest}.btf").exists()
