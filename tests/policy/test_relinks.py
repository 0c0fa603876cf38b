"""Which modules' units are remembered, and for how long."""

from pathlib import Path

from btfd.encode import BaseInfo, Request, encode_file
from btfd.kbuild import encoder_options
from btfd.relinks import FEW, LIMIT, Relinks
from tests.policy.fake import FakeBase, FakeCore, link, make_tree
from tests.policy.test_daemon import M0, M1, all_current, running

BASE = BaseInfo("vmlinux", FakeBase(b"one"))


def units(count: int, *edited: int) -> str:
    """What a module of so many units says."""
    return " ".join(f"unit{n}{'-edited' if n in edited else ''}" for n in range(count))


class Modules:
    """Modules that are encoded one by one."""

    def __init__(self, folder: Path) -> None:
        self.core = FakeCore()
        self.relinks = Relinks(self.core)
        self._folder = folder

    def path(self, name: str) -> str:
        return str(self._folder / name)

    def spared(self, name: str, source: str) -> int:
        """Links and encodes a module; how many units were not read."""
        before = self.core.spared[name]
        link(self._folder, name, source)
        request = Request(encoder_options(None, None), BASE, relinks=self.relinks)
        assert encode_file(self.core, self.path(name), request).good
        return self.core.spared[name] - before


def test_an_edit_costs_what_it_changed(tmp_path: Path) -> None:
    modules = Modules(tmp_path)
    assert modules.spared("m.ko", units(9)) == 0
    assert modules.spared("m.ko", units(9, 4)) == 8
    assert modules.spared("m.ko", units(9, 4, 5)) == 8
    assert modules.spared("m.ko", units(9, 4, 5)) == 9
    modules.relinks.forget()
    assert modules.spared("m.ko", units(9)) == 0


def test_of_few_units_none_is_remembered(tmp_path: Path) -> None:
    modules = Modules(tmp_path)
    for _ in range(3):
        assert modules.spared("few.ko", units(FEW - 1)) == 0
        modules.spared("enough.ko", units(FEW))
    assert modules.core.spared["enough.ko"] == 2 * FEW
    assert modules.relinks.before(modules.path("few.ko")) is None
    assert not modules.relinks.has(modules.path("few.ko"))


def test_a_module_that_grows_is_remembered_from_then_on(tmp_path: Path) -> None:
    modules = Modules(tmp_path)
    for count in (FEW - 1, FEW, FEW):
        assert modules.spared("m.ko", units(count)) == 0
    assert modules.spared("m.ko", units(FEW, 0)) == FEW - 1


def test_the_modules_linked_last_stay_within_the_limit(tmp_path: Path) -> None:
    modules, half = Modules(tmp_path), LIMIT // FakeCore.UNIT // 2
    for name in ("old.ko", "other.ko", "new.ko"):
        modules.spared(name, units(half))
    assert [modules.relinks.has(modules.path(n)) for n in ("old.ko", "other.ko", "new.ko")] == [
        *(False, True, True)
    ]
    assert modules.spared("other.ko", units(half)) == half
    modules.spared("old.ko", units(half))
    assert not modules.relinks.has(modules.path("new.ko"))
    # What does not fit is not remembered, and pushes nothing out.
    modules.spared("huge.ko", units(3 * half))
    assert modules.relinks.has(modules.path("old.ko"))
    assert not modules.relinks.has(modules.path("huge.ko"))


def test_the_daemon_remembers_what_is_edited(tmp_path: Path) -> None:
    root, core = make_tree(tmp_path / "tree"), FakeCore()
    link(root, M0, units(9))
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        assert run.daemon is not None
        assert not core.spared
        for edit in range(3):
            link(root, M0, units(9, edit))
            count = edit + 2
            run.wait(lambda count=count: run.kinds(M0) == ["encoded"] * count)  # type: ignore[misc]
        assert core.spared["m0.ko"] == 7 + 7
        run.daemon.drop_caches().result()
        link(root, M0, units(9))
        run.wait(lambda: run.kinds(M0) == ["encoded"] * 5)
        assert core.spared["m0.ko"] == 7 + 7
        assert run.current(M0) and run.current(M1)
