"""The tree's own resolve_btfids, run on a copy.

Contract: `find` names the program that kbuild of this tree would run, or says why it may not be
run; `settle` gives the BTF and the words of `.BTF_ids` that belong into a module, and writes
nothing but temporary files. Two forms are known. Up to Linux 6.19 the program resolves a file in
place: it gets a copy of the module with our BTF and the words that the linker wrote, and its words
are taken. Since 7.0 it also rewrites BTF (prototypes with implicit arguments, tags of kfuncs,
order) and writes both beside the copy: both are taken. Without the program the core's ids stand;
they are the same as those up to 6.19, and since 7.0 what only the program can rewrite is refused.

Whose program is run: kbuild runs this file as whoever says `make`. We run it by ourselves when
that somebody is us: it must belong to the user of this process and not be writable for all, or be
named in the configuration, which is never read from a tree.

Cost: only modules with `.BTF_ids` get here, about one of 200. A copy of the module, the base as a
raw file, and the program's reading of it, together about 100 ms; `find` is two calls of stat.
What only a run needs is imported by the first one.
"""

import functools
import os
from typing import TYPE_CHECKING, NamedTuple

from btfd import kbuild
from btfd.engine import Base, Core, Encoded, Ids, Stamp, stamp_of
from btfd.errors import Problem, Superseded, from_os

if TYPE_CHECKING:
    from subprocess import CompletedProcess

PLACE = "tools/bpf/resolve_btfids/resolve_btfids"
SECTION = ".BTF_ids"
TIMEOUT = 120

#: Flags of kfuncs that make resolve_btfids rewrite BTF in a way that we do not: since 7.0 the
#: prototype of a function with implicit arguments, since 7.3 the attributes of arena pointers,
#: which a parameter's name can ask for as well.
IMPLICIT_ARGS = 1 << 16
ARENA = 1 << 13 | 1 << 14 | 1 << 15


class Resolver(NamedTuple):
    """A program that may be run, or the reason why there is none."""

    program: str | None
    reason: str = ""

    @property
    def key(self) -> str:
        """Equal keys, equal results for equal input."""
        return self.program or "native"


NATIVE = Resolver(None, "the tree has no resolve_btfids")


class Settled(NamedTuple):
    """What belongs into the module."""

    btf: bytes
    words: bytes | None
    """None: those in the file are right."""
    warnings: tuple[str, ...] = ()


def find(tree: str | None, configured: str = "") -> Resolver:
    """The program for a tree. `configured`: its path, or `none`, from the configuration."""
    if configured == "none":
        return Resolver(None, "the configuration says `resolve_btfids: none`")
    if configured:
        return Resolver(configured)
    if tree is None:
        return NATIVE
    program = os.path.join(tree, PLACE)
    try:
        about = os.stat(program)
    except OSError:
        return NATIVE
    if not os.path.isfile(program) or not os.access(program, os.X_OK):
        return Resolver(None, f"{program} is not a program")
    if about.st_uid != os.geteuid() or about.st_mode & 0o002:
        return Resolver(None, f"{program} is not this user's own")
    return Resolver(program)


def settle(
    core: Core, path: str, made: Encoded, base: Base | None, release: str | None, use: Resolver
) -> Settled:
    """BTF and words for a module that was just encoded. `release`: of its kernel, if known."""
    ids = made.ids
    if ids is None:
        return Settled(made.btf, None)
    warnings: tuple[str, ...] = ()
    if use.program is not None and base is not None:
        try:
            return _run(core, path, made, ids, base, use.program)
        except _Foreign as e:
            use = Resolver(None, str(e))
            warnings = (str(e),)
    _check_transforms(ids, release, use)
    return Settled(made.btf, None if ids.settled else ids.resolved, warnings)


def _check_transforms(ids: Ids, release: str | None, use: Resolver) -> None:
    era = kbuild.numbers(release)
    if era is None or era < (7, 0):
        return
    needs = []
    if ids.kfunc_flags & IMPLICIT_ARGS:
        needs.append("kfuncs with implicit arguments")
    if (ids.kfunc_flags & ARENA or ids.arena_parameters) and era >= (7, 3):
        needs.append("kfuncs with arena pointers")
    if needs:
        raise Problem(
            f"{' and '.join(needs)} need the resolve_btfids of Linux {era[0]}.{era[1]}: "
            f"{use.reason}",
            hint=f"build {PLACE} in its tree (`make prepare`), or name it in the configuration",
        )


class _Foreign(Exception):
    """The program is for another machine."""


def _run(core: Core, path: str, made: Encoded, ids: Ids, base: Base, program: str) -> Settled:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="btfd-") as folder:
        copy = os.path.join(folder, "module.ko")
        raw_base = os.path.join(folder, "base.btf")
        _copy(path, copy, made.stamp)
        fresh = stamp_of(copy)
        assert fresh is not None
        core.install(copy, made.btf, fresh, btf_ids=ids.pristine, base=made.btf_base)
        # A distilled base takes the place of the base: ids are relative to it.
        below = base.to_bytes() if made.btf_base is None else made.btf_base
        with open(raw_base, "wb") as f:
            f.write(below)
        if _detaches(program, stamp_of(program)):
            raw = os.path.join(folder, "module.btf")
            with open(raw, "wb") as f:
                f.write(made.btf)
            said = _call([program, "--btf", raw, "--btf_base", raw_base, copy], program)
            btf, words = _content(copy + ".BTF"), _content(copy + ".BTF_ids")
        else:
            said = _call([program, "-b", raw_base, copy], program)
            btf, words = made.btf, core.read_section(copy, SECTION)
    if btf is None or words is None or len(words) != len(ids.pristine):
        raise Problem(f"{program} gave no result for its .BTF_ids")
    same = words == ids.resolved and ids.settled
    return Settled(btf, None if same else words, said)


def _copy(path: str, copy: str, stamp: Stamp) -> None:
    """The module as it was read: later changes of the original are not ours to judge."""
    import shutil

    try:
        shutil.copyfile(path, copy)
        os.chmod(copy, 0o600)
    except OSError as e:
        raise from_os(e) from e
    if stamp_of(path) != stamp:
        raise Superseded("a newer file is at the path")


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


@functools.lru_cache(maxsize=16)
def _detaches(program: str, _state: Stamp | None) -> bool:
    """Whether the program is of the form since 7.0."""
    done = _start([program, "--help"])
    return "patch_btfids" in done.stdout + done.stderr


def _call(command: list[str], program: str) -> tuple[str, ...]:
    """Runs it; what it warned of, without what the core says by itself."""
    done = _start(command)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        last = lines[-1] if lines else "no message"
        raise Problem(f"{program} failed with status {done.returncode}: {last}")
    told = ("multiple IDs found", "unresolved symbol")
    return tuple(
        f"resolve_btfids: {line}" for line in lines if not any(known in line for known in told)
    )


def _start(command: list[str]) -> "CompletedProcess[str]":
    import subprocess

    environment = os.environ | {"LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise Problem(f"{command[0]} did not end within {TIMEOUT} s") from e
    except OSError as e:
        raise _Foreign(f"{command[0]} cannot be run: {e.strerror}") from e
