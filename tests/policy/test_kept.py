"""What is kept of encodes: moved to another base where all is as it was, else not believed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from btfd.bases import Bases
from btfd.kept import BASES, Kept, Movable
from btfd.store import Held
from tests.policy.fake import FakeBase, FakeCore, FakeEncoded

ONE, TWO = FakeBase(b"one"), FakeBase(b"two")


class Place:
    """Modules, and where their types are kept."""

    def __init__(self, tmp_path: Path, folder: Path | None = None) -> None:
        self.core = FakeCore()
        self.root = tmp_path
        self.folder = folder or tmp_path / "types" / "tree"
        self.open()

    def open(self) -> None:
        """As a process that starts now."""
        self.kept = Kept(str(self.folder), self.core, Bases(self.core).copy)

    def encode(self, base: FakeBase, name: str = "m.ko", source: str = "a") -> Movable:
        """Encodes a module that was just linked, and gives what is to be remembered of it."""
        path = self.root / name
        path.write_text(f"src {source}\n")
        made = self.core.encode(
            str(path), base, (), lang_exclude=(), threads=1, full=False, keep=True
        )
        _, stamp = self.core.install(str(path), made.btf, made.stamp)
        held = self.kept.put(str(path), base, made)
        return Movable(str(path), stamp, held or Held(base.digest, bytes(8)))

    def move(self, *modules: Movable, base: FakeBase, release: str | None = None) -> list[bool]:
        """Whether each was moved; those that were have the BTF of an encode."""
        before = [Path(module.path).read_bytes() for module in modules]
        moved = self.kept.move(modules, base, release)
        for module, was, made in zip(modules, before, moved, strict=True):
            if made is None:
                assert Path(module.path).read_bytes() == was
            else:
                source = Path(module.path).read_text().split()[1]
                assert made.btf == FakeCore.btf_of(source, base, "")
                assert made.btf == self.core.read_btf(module.path)
        return [made is not None for made in moved]

    def files(self) -> list[Path]:
        """What is kept of modules."""
        return [p for p in self.folder.rglob("*") if p.is_file() and p.name != "base.btf"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def after(module: Movable) -> Movable:
    """The module as it is to be remembered once it was moved."""
    about = os.stat(module.path)
    stamp = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return module._replace(stamp=stamp)


def test_a_module_moves_from_base_to_base_and_back_and_nothing_is_written(place: Place) -> None:
    module = place.encode(ONE)
    (file,) = place.files()
    kept = file.stat()
    for base in (TWO, FakeBase(b"three"), ONE):
        assert place.move(module, base=base) == [True]
        module = after(module)
    assert file.stat() == kept


def test_modules_of_several_bases_move_together(place: Place) -> None:
    some = [place.encode(ONE, "a.ko"), place.encode(TWO, "b.ko"), place.encode(ONE, "c.ko", "b")]
    assert place.move(*some, base=FakeBase(b"three")) == [True] * 3


def test_another_process_finds_them(place: Place) -> None:
    module = place.encode(ONE)
    place.open()
    assert place.move(module, base=TWO) == [True]


def test_what_the_core_cannot_tell_is_left(place: Place) -> None:
    place.core.unsure.add("b.ko")
    some = [place.encode(ONE, name) for name in ("a.ko", "b.ko", "c.ko")]
    assert place.move(*some, base=TWO) == [True, False, True]


def test_another_state_of_the_file_is_left(place: Place) -> None:
    module = place.encode(ONE)
    Path(module.path).write_text("src b\n")
    assert place.move(module, base=TWO) == [False]


def test_a_file_that_is_in_use_is_left(place: Place) -> None:
    module = place.encode(ONE)
    place.core.denied.add("m.ko")
    assert place.move(module, base=TWO) == [False]


def test_a_module_of_another_kernel_is_left(place: Place) -> None:
    module = place.encode(ONE)
    place.core.vermagic = "6.1"
    assert place.move(module, base=TWO, release="6.2") == [False]
    assert place.move(module, base=TWO, release="6.1") == [True]


@pytest.mark.parametrize(
    "harm", ["cut", "gone", "mark", "another module's", "no base", "another base", "all"]
)
def test_what_is_damaged_foreign_or_gone_is_not_believed(place: Place, harm: str) -> None:
    module = place.encode(ONE)
    (file,) = place.files()
    base = place.folder / ONE.digest / "base.btf"
    match harm:
        case "cut":
            file.write_bytes(file.read_bytes()[:-1])
        case "gone":
            file.unlink()
        case "mark":
            file.write_bytes(bytes(8) + file.read_bytes()[8:])
        case "another module's":
            place.encode(ONE, "other.ko")
            (other,) = set(place.files()) - {file}
            other.replace(file)
        case "no base":
            base.unlink()
        case "another base":
            base.write_bytes(b"two")
        case "all":
            shutil.rmtree(place.folder)
    place.open()
    assert place.move(module, base=TWO) == [False]
    again = place.encode(ONE)
    place.open()
    assert place.move(again, base=TWO) == [True], "it is made anew"


def test_an_encode_takes_the_place_of_what_was_kept_before(place: Place) -> None:
    before = place.encode(ONE)
    module = place.encode(ONE, source="b")
    assert place.move(module._replace(held=before.held), base=TWO) == [False]
    assert place.move(module, base=TWO) == [True]
    assert len(place.files()) == 1


def test_what_is_forgotten_is_gone(place: Place) -> None:
    module = place.encode(ONE)
    place.kept.forget(module.path, module.held)
    assert place.files() == []
    place.kept.forget(module.path, module.held)


class FakeIds:
    """Of a link with this build id."""

    pristine = resolved = b"\0\0\0\0"
    settled = arena_parameters = False
    kfunc_flags = 0

    def __init__(self, build_id: str | None) -> None:
        self.build_id = build_id


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"kept": None}, False),
        ({"btf_base": b"distilled"}, False),
        ({"ids": FakeIds("abc")}, True),
        ({"ids": FakeIds(None)}, False),
        ({"ids": FakeIds("abc"), "warnings": ["no such type"]}, False),
    ],
)
def test_what_can_be_kept(place: Place, changes: dict[str, Any], is_kept: bool) -> None:
    made = FakeEncoded(b"btf", (1, 2, 3, 4, 5), kept=b"types")
    held = place.kept.put("m.ko", ONE, replace(made, **changes))
    assert (held is not None) == is_kept
    assert len(place.files()) == is_kept


def test_a_folder_that_cannot_be_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = Place(tmp_path, tmp_path / "file" / "types")
    assert place.move(place.encode(ONE), base=TWO) == [False]


def test_few_bases_are_kept_those_of_most_modules(place: Place) -> None:
    for n in range(3):
        place.encode(ONE, f"m{n}.ko")
    for n in range(6):
        place.encode(FakeBase(b"%d" % n))
    digests = {path.name for path in place.folder.iterdir()}
    assert len(digests) == BASES
    assert {ONE.digest, FakeBase(b"5").digest} <= digests


def test_what_nobody_asked_for_is_removed(place: Place, tmp_path: Path) -> None:
    place.encode(ONE)
    old, older = tmp_path / "types" / "other", tmp_path / "types" / "file"
    shutil.copytree(place.folder, old)
    older.write_bytes(b"")
    for path in (old, older, place.folder):
        os.utime(path, (0, 0))
    place.open()
    assert [path.name for path in (tmp_path / "types").iterdir()] == ["tree"]
    assert len(place.files()) == 1
