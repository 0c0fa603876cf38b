"""Who makes the BTF, and what of kbuild's making is kept."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from btfd import kbuild, usage
from btfd.kbuild import KBUILD, WATCHER
from btfd.usage import building, decide
from tests.policy.fake import FakeCore, link, link_base, make_tree
from tests.policy.test_daemon import M0, M1, all_current, once, running

AUTO_CONF = "CONFIG_DEBUG_INFO_BTF=y\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@contextmanager
def make_at_work(folder: Path, tools: Path, *words: str, **more: str) -> Iterator[None]:
    """A process that looks like make."""
    program = tools / "make"
    if not program.exists():
        shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    # The shell that becomes `make` keeps further words; sleep would not take them.
    code = 'exec "$0" 1000'
    environment = os.environ | more | {"WORDS": " ".join(words)}
    process = subprocess.Popen(["sh", "-c", code, program], cwd=folder, env=environment)
    try:
        while Path(f"/proc/{process.pid}/comm").read_text() != "make\n":
            pass
        yield
    finally:
        process.kill()
        process.wait()


def btf_by_kbuild(root: Path, module: str, content: bytes = b"kbuild's") -> None:
    link(root, module, "by kbuild")
    with open(root / module, "a") as f:
        f.write(f"btf {content.hex()}\n")


def test_who_makes_it() -> None:
    on = kbuild.parse_auto_conf(AUTO_CONF)
    assert decide(on).who == KBUILD
    assert decide(on, WATCHER).who == WATCHER
    assert decide(kbuild.parse_auto_conf("CONFIG_DEBUG_INFO_BTF=y\n")).who == WATCHER
    assert decide(None).who == WATCHER


def test_a_make_in_the_tree_is_seen(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tree2").mkdir()
    assert not building(str(root))
    with make_at_work(tmp_path / "elsewhere", tmp_path), make_at_work(tmp_path / "tree2", tmp_path):
        assert not building(str(root))
    with make_at_work(root / "drivers", tmp_path):
        assert building(str(root))
    with make_at_work(root, tmp_path, MAKEFLAGS=" -- cmd_btf_ko=true"):
        assert not building(str(root)), "its step is off"
        with make_at_work(root, tmp_path):
            assert building(str(root))


def test_while_make_is_at_work_nothing_is_touched(root: Path, tmp_path: Path) -> None:
    core = FakeCore()
    with running(root, core, use="auto") as run:
        run.wait(lambda: all_current(run))
        with make_at_work(root, tmp_path):
            link(root, M0, "new")
            run.wait(lambda: "held" in run.kinds())
            assert core.encoded["m0.ko"] == 1
            btf_by_kbuild(root, M0)
        run.wait(lambda: "kept" in run.kinds(M0))
    assert core.encoded["m0.ko"] == 1
    assert b"kbuild's".hex() in (root / M0).read_text()


def test_with_the_step_off_it_is_ours_at_once(root: Path, tmp_path: Path) -> None:
    core = FakeCore()
    with (
        running(root, core, use="auto") as run,
        make_at_work(root, tmp_path, MAKEFLAGS="-- cmd_btf_ko=true"),
    ):
        run.wait(lambda: all_current(run))
        link(root, M0, "new")
        run.wait(lambda: all_current(run))


def test_what_kbuild_left_without_btf_is_mended(root: Path) -> None:
    core = FakeCore()
    btf_by_kbuild(root, M0)
    status, journal = once(root, core, None)
    assert status == 0
    assert core.encoded == {"m1.ko": 1, "m2.ko": 1}
    assert [e.kind for e in journal.since(None).events if e.path == M0] == ["kept"]
    link(root, M0, "relinked without the step")
    once(root, core, None)
    assert core.encoded["m0.ko"] == 1


def test_older_than_vmlinux_or_not_fitting_is_mended(root: Path) -> None:
    core = FakeCore()
    btf_by_kbuild(root, M0)
    btf_by_kbuild(root, M1, b"\xbdroken")
    base = (root / "vmlinux").stat().st_mtime_ns
    os.utime(root / M0, ns=(base - 1, base - 1))
    assert once(root, core, None)[0] == 0
    assert core.encoded == {"m0.ko": 1, "m1.ko": 1, "m2.ko": 1}


def test_kept_over_a_base_that_changes_is_stale(root: Path, tmp_path: Path) -> None:
    core = FakeCore()
    index = str(tmp_path / "index")
    btf_by_kbuild(root, M0)
    once(root, core, index)
    once(root, core, index)
    assert core.encoded["m0.ko"] == 0
    link_base(root, "two")
    once(root, core, index)
    assert core.encoded["m0.ko"] == 1


def test_what_we_answered_is_known_again(root: Path) -> None:
    core = FakeCore()
    btf_by_kbuild(root, M0)
    os.utime(root / M0, (1, 1))
    base = core.load_base(str(root / "vmlinux"))
    from btfd.encode import BaseInfo

    info = BaseInfo(str(root / "vmlinux"), base)
    path = str(root / M0)
    assert usage.examine(core, path, info, lambda *_: False) is None
    told = []

    def ours(*what: object) -> bool:
        told.append(what)
        return True

    found = usage.examine(core, path, info, ours)
    assert found is not None
    assert found.status == "kept"
    assert told == [(path, b"kbuild's", base.digest)]
