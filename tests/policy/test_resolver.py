"""Whose resolve_btfids is run, what it gets, and what is refused without it."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from btfd import resolver
from btfd.encode import Outcome, Request, encode_file
from btfd.engine import Ids, Stamp, stamp_of
from btfd.errors import Problem
from btfd.kbuild import encoder_options
from btfd.resolver import Resolver, find, settle
from btfd.store import Store
from btfd.tree import BuildTree
from tests.policy.fake import FakeBase, FakeCore, FakeEncoded, make_tree

PRISTINE, RESOLVED = b"\0\0\0\0flag", b"\7\0\0\0flag"


@dataclass
class FakeIds:
    build_id: str | None = "abc"
    pristine: bytes = PRISTINE
    resolved: bytes = RESOLVED
    settled: bool = False
    kfunc_flags: int = 0
    arena_parameters: bool = False


@dataclass
class IdsCore(FakeCore):
    """A core whose modules have ids; what it was told and what it installed is kept."""

    ids: FakeIds = field(default_factory=FakeIds)
    earlier: list[tuple[str, bytes] | None] = field(default_factory=list)
    installed: list[bytes | None] = field(default_factory=list)

    def encode(self, path, base, features, **more):  # type: ignore[no-untyped-def]
        self.earlier.append(more["earlier"])
        made = super().encode(path, base, features, **more)
        ids: Ids = self.ids
        return FakeEncoded(made.btf, made.stamp, self.vermagic, ids if more["resolve"] else None)

    def install(
        self,
        path: str,
        btf: bytes,
        stamp: Stamp,
        *,
        btf_ids: bytes | None = None,
        base: bytes | None = None,
    ) -> tuple[str, Stamp]:
        self.installed.append(btf_ids)
        return super().install(path, btf, stamp, base=base)

    def read_section(self, path: str, name: str) -> bytes | None:
        return Path(path + ".section").read_bytes() if name == resolver.SECTION else None


def _program(folder: Path, script: str, mode: int = 0o755) -> str:
    program = folder / resolver.PLACE
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(mode)
    return str(program)


def _module(tmp_path: Path) -> tuple[str, Request]:
    path = tmp_path / "m.ko"
    path.write_text("src something\n")
    return str(path), Request(encoder_options(None, None))


def test_which_program_is_run(tmp_path: Path) -> None:
    tree = str(tmp_path)
    assert find(None) == find(tree) == resolver.NATIVE
    program = _program(tmp_path, "exit 0\n")
    assert find(tree) == Resolver(program)
    assert find(tree, "/opt/other") == Resolver("/opt/other")
    assert find(tree, "none").program is None
    for mode, why in ((0o644, "not a program"), (0o757, "not this user's own")):
        os.chmod(program, mode)
        found = find(tree)
        assert found.program is None and why in found.reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_program_is_not_run(tmp_path: Path) -> None:
    program = _program(tmp_path, "exit 0\n")
    os.chown(program, 65534, 65534)
    assert "not this user's own" in find(str(tmp_path)).reason


def test_without_a_program_the_cores_ids_are_installed(tmp_path: Path) -> None:
    path, request = _module(tmp_path)
    core = IdsCore()
    outcome = encode_file(core, path, request, earlier=("abc", PRISTINE))
    assert outcome.status == "encoded", outcome
    assert core.installed == [RESOLVED]
    assert core.earlier == [("abc", PRISTINE)]
    assert outcome.link == ("abc", PRISTINE)
    core.ids.settled = True
    encode_file(core, path, request)
    assert core.installed == [RESOLVED, None]


def test_a_raw_file_has_no_ids(tmp_path: Path) -> None:
    path, request = _module(tmp_path)
    core = IdsCore()
    outcome = encode_file(core, path, request, detached=str(tmp_path / "raw"))
    assert outcome.good and outcome.link is None and core.installed == []


@pytest.mark.parametrize(
    ("release", "flags", "needs"),
    [
        ("6.19.2", resolver.IMPLICIT_ARGS | resolver.ARENA, None),
        ("7.0.0", 1, None),
        ("7.0.0", resolver.IMPLICIT_ARGS, "kfuncs with implicit arguments need"),
        ("7.2.0", resolver.ARENA, None),
        ("7.3.4-x", resolver.ARENA, "kfuncs with arena pointers need the resolve_btfids of"),
        (None, resolver.IMPLICIT_ARGS, None),
    ],
)
def test_what_only_the_program_can_do(
    tmp_path: Path, release: str | None, flags: int, needs: str | None
) -> None:
    path, request = _module(tmp_path)
    core = IdsCore(vermagic=f"{release} SMP" if release else None)
    core.ids.kfunc_flags = flags
    outcome = encode_file(core, path, request)
    if needs is None:
        assert outcome.status == "encoded"
        return
    assert outcome.status == "failed" and outcome.lasting
    assert needs in (outcome.reason or "")
    assert "make prepare" in (outcome.hint or "")
    assert core.installed == []


def test_an_arena_can_be_named_by_a_parameter(tmp_path: Path) -> None:
    path, request = _module(tmp_path)
    core = IdsCore(vermagic="7.3.4 SMP")
    core.ids.arena_parameters = True
    assert "kfuncs with arena pointers need" in (encode_file(core, path, request).reason or "")
    core.vermagic = "7.2.0 SMP"
    assert encode_file(core, path, request).status == "encoded"


def _settle(tmp_path: Path, core: IdsCore, use: Resolver) -> resolver.Settled:
    path, _ = _module(tmp_path)
    stamp = stamp_of(path)
    assert stamp is not None
    made = FakeEncoded(b"our btf", stamp, ids=core.ids)
    return settle(core, path, made, FakeBase(b"the base"), "7.3.4", use)


def test_the_old_form_gets_a_copy_and_the_base(tmp_path: Path) -> None:
    core = IdsCore()
    script = (
        f'echo "$1 $(cat $2)" >{tmp_path}/seen\nprintf 1234flag >$3.section\n'
        "echo 'WARN: multiple IDs found for x: 1, 2 - using 1' >&2\necho 'WARN: new' >&2\n"
    )
    program = _program(tmp_path, f'[ "$1" = --help ] && exit 129\n{script}')
    done = _settle(tmp_path, core, Resolver(program))
    assert done == resolver.Settled(b"our btf", b"1234flag", ("resolve_btfids: WARN: new",))
    assert core.installed == [PRISTINE]
    assert (tmp_path / "seen").read_text() == "-b the base\n"


def test_the_new_form_gives_btf_too(tmp_path: Path) -> None:
    core = IdsCore()
    script = (
        '[ "$1" = --help ] && echo "--patch_btfids <file>" && exit 129\n'
        f'echo "$1 $(cat $2) $3 $(cat $4)" >{tmp_path}/seen\n'
        "printf 'new btf' >$5.BTF\nprintf 1234flag >$5.BTF_ids\n"
    )
    done = _settle(tmp_path, core, Resolver(_program(tmp_path, script)))
    assert done == resolver.Settled(b"new btf", b"1234flag")
    assert core.installed == [PRISTINE]
    assert (tmp_path / "seen").read_text() == "--btf our btf --btf_base the base\n"


def test_a_program_that_fails_or_makes_nothing(tmp_path: Path) -> None:
    core = IdsCore()
    program = _program(tmp_path, '[ "$1" = --help ] && exit 1\necho no way >&2\nexit 255\n')
    with pytest.raises(Problem, match="failed with status 255: no way"):
        _settle(tmp_path, core, Resolver(program))
    program = _program(tmp_path, "echo patch_btfids\n")
    with pytest.raises(Problem, match="gave no result"):
        _settle(tmp_path, core, Resolver(program))


def test_a_program_for_another_machine_is_as_none(tmp_path: Path) -> None:
    core = IdsCore()
    program = tmp_path / "foreign"
    program.write_bytes(b"\x7fELF rubbish")
    program.chmod(0o755)
    done = _settle(tmp_path, core, Resolver(str(program)))
    assert done.words == RESOLVED and "cannot be run" in done.warnings[0]
    core.ids.kfunc_flags = resolver.IMPLICIT_ARGS
    with pytest.raises(Problem, match="cannot be run"):
        _settle(tmp_path, core, Resolver(str(program)))


def test_the_words_of_a_link_outlive_the_run(tmp_path: Path) -> None:
    root, index = make_tree(tmp_path / "tree", 1), str(tmp_path / "index.sqlite")
    core = IdsCore()
    tree = BuildTree(str(root), core, Store(index))
    tree.look_at_base()
    (item,) = tree.stale()
    assert tree.earlier(item.path) is None
    outcome = encode_file(core, os.path.join(tree.root, item.path), tree.request())
    assert tree.digest is not None
    tree.record({item.path: outcome}, tree.digest)
    again = BuildTree(str(root), core, Store(index))
    assert again.earlier(item.path) == ("abc", PRISTINE)
    # The next link has words of its own.
    link = ("def", RESOLVED)
    made = Outcome("", "encoded", stamp=outcome.stamp, link=link)
    again.record({item.path: made}, tree.digest)
    assert BuildTree(str(root), core, Store(index)).earlier(item.path) == link


def test_a_program_that_appears_makes_stale_only_where_it_matters(tmp_path: Path) -> None:
    for release, stale in (("6.12.1", 0), ("7.3.4", 2)):
        root = make_tree(tmp_path / release, 2)
        (root / "include/config/kernel.release").write_text(release + "\n")
        core = FakeCore()
        tree = BuildTree(str(root), core, Store(None))
        tree.look_at_base()
        for item in tree.stale():
            outcome = encode_file(core, os.path.join(tree.root, item.path), tree.request())
            assert tree.digest is not None
            tree.record({item.path: outcome}, tree.digest)
        _program(root, "exit 0\n")
        tree.reread_config()
        assert len(tree.stale()) == stale
