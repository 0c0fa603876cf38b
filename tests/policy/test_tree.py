"""What is stale, and why."""

import os
from pathlib import Path

import pytest

from btfd import tree as rooms
from btfd.encode import encode_file
from btfd.engine import stamp_of
from btfd.kbuild import EncoderOptions
from btfd.store import Store
from btfd.tree import BaseState, BuildTree
from tests.policy.fake import FakeBase, FakeCore, link, link_base, make_tree

M0, M1, M2 = (f"drivers/d{n}/m{n}.ko" for n in range(3))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@pytest.fixture
def index(tmp_path: Path) -> str:
    return str(tmp_path / "index.sqlite")


def encode_all(tree: BuildTree, core: FakeCore) -> None:
    tree.look_at_base()
    for item in tree.stale():
        outcome = encode_file(core, os.path.join(tree.root, item.path), tree.request())
        assert tree.digest is not None
        tree.record({item.path: outcome}, tree.digest)


def reasons(tree: BuildTree) -> dict[str, str]:
    return {item.path: item.reason for item in tree.stale()}


def test_everything_once_then_nothing(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    assert tree.look_at_base().state is BaseState.CHANGED
    assert reasons(tree) == {M0: rooms.NO_BTF, M1: rooms.NO_BTF, M2: rooms.NO_BTF}
    encode_all(tree, core)
    assert reasons(tree) == {}


def test_a_second_run_knows_without_loading_the_base(root: Path, index: str) -> None:
    core = FakeCore()
    encode_all(BuildTree(str(root), core, Store(index)), core)
    loaded = core.bases
    again = BuildTree(str(root), core, Store(index))
    again.look_at_base()
    assert reasons(again) == {}
    assert core.bases == loaded


def test_what_is_saved_later_is_known_here_at_once(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    tree.look_at_base()
    assert tree.digest is not None
    for item in tree.stale():
        outcome = encode_file(core, os.path.join(tree.root, item.path), tree.request())
        tree.record({item.path: outcome}, tree.digest, save=False)
    assert reasons(tree) == {}
    assert tree.unsaved == 3
    assert Store(index).modules(tree.root) == {}
    tree.save()
    assert tree.unsaved == 0
    assert Store(index).modules(tree.root).keys() == {M0, M1, M2}


def test_why_nobody_knows_a_module_takes_one_look_a_link(
    root: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    tree.look_at_base()
    looks: list[str] = []
    read = core.read_btf

    def noted(path: str) -> bytes:
        looks.append(tree.relative(path))
        return read(path)

    monkeypatch.setattr(core, "read_btf", noted)
    for _ in range(2):
        assert reasons(tree) == {M0: rooms.NO_BTF, M1: rooms.NO_BTF, M2: rooms.NO_BTF}
        assert all(tree.is_stale(module) for module in (M0, M1, M2))
    assert sorted(looks) == [M0, M1, M2]
    link(root, M1, "struct other")
    assert tree.why(M1) == rooms.NO_BTF
    assert looks[3:] == [M1]
    (root / M2).unlink()
    assert not tree.is_stale(M2)


def test_modules_with_btf_of_others_are_not_trusted(root: Path, index: str) -> None:
    core = FakeCore()
    encode_all(BuildTree(str(root), core, Store(None)), core)
    tree = BuildTree(str(root), core, Store(index))
    tree.look_at_base()
    assert set(reasons(tree).values()) == {rooms.NEVER}


def test_reasons(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    encode_all(tree, core)
    link(root, M1, "edited")
    assert reasons(tree) == {M1: rooms.NEW_LINK}
    given = EncoderOptions(("var",), (), "given")
    other = BuildTree(str(root), core, Store(index), adjust=lambda _: given)
    other.look_at_base()
    assert reasons(other) == {
        M0: rooms.OPTIONS_CHANGED,
        M1: rooms.NEW_LINK,
        M2: rooms.OPTIONS_CHANGED,
    }
    link_base(root, "two")
    assert tree.look_at_base().state is BaseState.CHANGED
    assert reasons(tree) == {M0: rooms.BASE_CHANGED, M1: rooms.NEW_LINK, M2: rooms.BASE_CHANGED}


def test_the_same_mtime_and_size_do_not_fool_it(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    encode_all(tree, core)
    path = root / M0
    before = path.stat()
    link(root, M0, "other   ")
    os.truncate(path, before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reasons(tree) == {M0: rooms.NEW_LINK}


def test_relinked_base_with_the_same_btf(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    encode_all(tree, core)
    assert tree.look_at_base().state is BaseState.UNTOUCHED
    link_base(root, "one")
    assert tree.look_at_base().state is BaseState.SAME
    assert reasons(tree) == {}


def test_a_new_base_can_be_read_in_advance(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    encode_all(tree, core)
    loads = core.bases
    with open(root / "vmlinux", "a"):
        tree.prepare_base()()
    (root / "vmlinux").unlink()
    tree.prepare_base()()
    (root / "vmlinux").write_text("half")
    tree.prepare_base()()
    assert core.bases == loads, "there was nothing to be read"
    link_base(root, "two")
    tree.prepare_base()()
    assert core.bases == loads + 1
    assert tree.digest == FakeBase(b"one").digest, "only a look decides"
    assert tree.look_at_base().state is BaseState.CHANGED
    assert core.bases == loads + 1


def test_base_missing_broken_and_back(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    encode_all(tree, core)
    (root / "vmlinux").unlink()
    assert tree.look_at_base().state is BaseState.MISSING
    (root / "vmlinux").write_text("half")
    news = tree.look_at_base()
    assert news.state is BaseState.UNUSABLE
    assert news.problem is not None
    loads = core.bases
    assert tree.look_at_base().state is BaseState.UNUSABLE
    assert core.bases == loads, "the same broken file is not parsed again"
    link_base(root, "one")
    assert tree.look_at_base().state is BaseState.SAME
    assert reasons(tree) == {}


def test_a_base_that_is_being_written_is_left_alone(root: Path, index: str) -> None:
    core = FakeCore()
    tree = BuildTree(str(root), core, Store(index))
    with open(root / "vmlinux", "a"):
        assert tree.look_at_base().state is BaseState.WRITING
    assert tree.look_at_base().state is BaseState.CHANGED


def test_failures_are_kept_until_the_input_changes(root: Path, index: str) -> None:
    core = FakeCore()
    (root / M0).write_text("nothing\n")
    tree = BuildTree(str(root), core, Store(index))
    encode_all(tree, core)
    assert tree.failure(M0) == "no DWARF"
    assert reasons(tree) == {}
    again = BuildTree(str(root), core, Store(index))
    again.look_at_base()
    assert reasons(again) == {}
    assert again.failure(M0) == "no DWARF"
    link(root, M0, "good now")
    assert reasons(again) == {M0: rooms.NEW_LINK}


def test_modules_order_decides_where_there_is_one(root: Path, index: str) -> None:
    tree = BuildTree(str(root), FakeCore(), Store(index))
    link(root, ".tmp_7/x.ko", "conftest")
    link(root, ".git/y.ko", "history")
    assert tree.modules() == [M0, M1, M2]
    (root / "modules.order").write_text(f"{M2}\n{M0[:-3]}.o\nnot/built.ko\n")
    assert tree.modules() == [M2, M0]


def test_a_module_of_another_kernel_is_refused(root: Path, index: str) -> None:
    from btfd.encode import BaseInfo, Request

    core = FakeCore(vermagic="6.9.0 SMP mod_unload")
    tree = BuildTree(str(root), core, Store(index))
    tree.look_at_base()
    base = BaseInfo("vmlinux", tree.base.base, "6.1.0-56-cloud-amd64")
    path = str(root / M0)
    before = stamp_of(path)
    outcome = encode_file(core, path, Request(tree.options, base))
    assert outcome.status == "failed"
    assert outcome.reason == "made for kernel 6.9.0, the base is of 6.1.0-56-cloud-amd64"
    assert stamp_of(path) == before
    assert encode_file(core, path, Request(tree.options, base, force_base=True)).good
    same = BaseInfo("vmlinux", tree.base.base, "6.9.0")
    assert encode_file(core, path, Request(tree.options, same)).good
