"""One file from DWARF to BTF in its place: encode, resolve ids, check, install, tell what came out.

Contract: `encode_file` never raises over the file; it answers with an `Outcome` that says what
happened and why. Nothing is written unless the encode succeeded, the kernel release fits the
base, and the caller still wants the result. `prepare` does what comes before the write, and may be
called earlier: what it made is only installed if it is what would be made now. Thread-safe:
outcomes of several files may be made at once over one base.

Cost: the core's. The stamp that is remembered is the core's too, taken from the descriptor that it
wrote: a link that comes right after is not mistaken for ours.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from btfd import elf, resolver
from btfd.engine import Base, Core, Encoded, Graph, Moved, Stamp, stamp_of
from btfd.errors import Busy, Problem, Refused, Superseded, from_os
from btfd.kbuild import EncoderOptions
from btfd.resolver import Resolver, Settled
from btfd.writers import being_written

if TYPE_CHECKING:  # what only a tree has: sqlite, among others
    from btfd.kept import Kept, Movable
    from btfd.relinks import Relinks
    from btfd.store import Held

#: Bytes of a file up to which its full size costs next to nothing: 1 to 3 ms, beside 2 to 4 for the
#: encode. It takes a second encode without the base; of xfs (43 MB) that is twice the work.
FULL_UP_TO = 4 << 20


class BaseInfo(NamedTuple):
    """A base with what is known about it outside its BTF."""

    path: str
    base: Base
    release: str | None = None


class Request(NamedTuple):
    """How to encode, the same for many files."""

    options: EncoderOptions
    base: BaseInfo | None = None
    threads: int = 1
    full: bool = False
    """Also find out what the BTF would take without a base."""
    force_base: bool = False
    resolver: Resolver = resolver.NATIVE
    kept: "Kept | None" = None
    """Where types are kept for when only the base will have changed."""
    relinks: "Relinks | None" = None
    """Where units are remembered for when only some of them will have changed."""


class Outcome(NamedTuple):
    """What became of one file. `status` is one of `STATUSES`."""

    path: str
    status: str
    reason: str | None = None
    hint: str | None = None
    types: int | None = None
    size: int | None = None
    full_size: int | None = None
    stamp: Stamp | None = None
    """Of the file as we left it: what `Changed` must differ from to matter."""
    input: Stamp | None = None
    """Of the file that was read."""
    lasting: bool = False
    """A failure that the same input would meet again."""
    bare: bool = False
    """Failed, and the file has no DWARF at all: there was nothing to encode."""
    stages: Mapping[str, float] = MappingProxyType({})
    warnings: tuple[str, ...] = ()
    target: str | None = None
    """The detached file, where one was written."""
    link: tuple[str, bytes] | None = None
    """Build id, and the words of `.BTF_ids` that the linker wrote: `earlier` of the next time."""
    feedback: list[dict[str, Any]] | None = None
    """What changed since the last result; None where that is not known."""
    held: "Held | None" = None
    """What is kept of its types."""

    @property
    def good(self) -> bool:
        return self.status in ("encoded", "unchanged", "kept")


#: Seconds for which a busy file is tried, where nothing else will try it.
PATIENCE = 2.0

#: Two writes within a tick of the clock that files get their times from (10 ms at most) leave the
#: same stamp. What was read so soon after a write is not known by its stamp later on.
TICK_NS = 10_000_000

#: encoded: new BTF is in place; unchanged: these very bytes were there; kept: those of another
#: maker were there, and right; failed: see the reason; superseded: a newer file is at the path;
#: busy: somebody is writing it; dropped: not wanted now.
STATUSES = ("encoded", "unchanged", "kept", "failed", "superseded", "busy", "dropped")


_BANNER = re.compile(rb"Linux version ([\x21-\x7e]+) ")

#: What an install answers, as a status.
_STATUS = {"written": "encoded", "unchanged": "unchanged"}


class Prepared(NamedTuple):
    """What a file should hold, and of what it was made."""

    request: Request
    made: Encoded
    done: Settled
    began: int
    """When reading began, in nanoseconds since 1970."""
    stages: dict[str, float]
    warnings: tuple[str, ...] = ()

    def still(self, request: Request, stamp: Stamp | None) -> bool:
        """Whether the file of this stamp would give the same to this request."""
        mine = self.request
        threads, full, relinks = request.threads, request.full, request.relinks
        same = mine._replace(threads=threads, full=full, relinks=relinks) == request
        enough = mine.full or not request.full
        rested = self.began - self.made.stamp[4] >= TICK_NS
        return same and enough and rested and self.made.stamp == stamp


def prepare(
    core: Core,
    path: str,
    request: Request,
    *,
    detached: str | None = None,
    wanted: Callable[[], bool] = lambda: True,
    earlier: tuple[str, bytes] | None = None,
) -> Prepared | None:
    """What a file should hold by its DWARF, nothing written; None: not wanted any more.

    `earlier`: build id and words of `.BTF_ids` of an earlier sight. Raises Problem.
    """
    base = request.base
    below = base.base if base else None
    features, left_out = usable(request, detached)
    relinks = request.relinks
    began = time.time_ns()
    made = core.encode(
        path,
        below,
        features,
        lang_exclude=request.options.lang_exclude,
        threads=request.threads,
        full=request.full,
        resolve=detached is None,
        earlier=earlier,
        keep=request.kept is not None and detached is None,
        remembered=relinks.before(path) if relinks else None,
    )
    if relinks:
        relinks.after(path, made)
    if base is not None and not request.force_base:
        check_release(made.vermagic, base)
    if not wanted():
        return None
    stages = dict(made.stages)
    started = time.perf_counter()
    release = _made_for(made.vermagic) or (base.release if base else None)
    done = resolver.settle(core, path, made, below, release, request.resolver)
    if made.ids is not None:
        stages["ids"] = stages.get("ids", 0.0) + (time.perf_counter() - started) * 1000
    return Prepared(request, made, done, began, stages, left_out)


def encode_file(
    core: Core,
    path: str,
    request: Request,
    *,
    detached: str | None = None,
    wanted: Callable[[], bool] = lambda: True,
    earlier: tuple[str, bytes] | None = None,
    compare: Callable[[Graph], list[dict[str, Any]] | None] = lambda graph: None,
    prepared: Prepared | None = None,
) -> Outcome:
    """Encodes one file, in place or into the raw file `detached`.

    `compare` is told the result once it is in place, and says what changed. `prepared` saves the
    encode if it still is what the encode would give.
    """
    before = stamp_of(path)
    try:
        if prepared is None or not prepared.still(request, before):
            prepared = prepare(
                core, path, request, detached=detached, wanted=wanted, earlier=earlier
            )
        if prepared is None or not wanted():
            return Outcome(path, "dropped", "overtaken")
        return _install(core, path, prepared, detached, compare)
    except Superseded as e:
        return Outcome(path, "superseded", e.cause, e.hint)
    except Busy as e:
        return Outcome(path, "busy", e.cause, e.hint)
    except Refused as e:
        # In this order: a writer that is done by the first look has left another stamp. An install
        # that failed has done so itself, and looked at the file before.
        changed = being_written(path) or (e.kind != "install" and stamp_of(path) != before)
        if detached is None and changed:
            return Outcome(path, "busy", "somebody is writing it")
        return _failed(path, e, before, lasting=e.lasting, explain=e.kind in ("elf", "dwarf"))
    except Problem as e:
        return _failed(path, e, before, lasting=True)
    except OSError as e:
        return _failed(path, from_os(e, path), before, lasting=False)


def encode_patiently(
    core: Core,
    path: str,
    request: Request,
    *,
    detached: str | None = None,
    compare: Callable[[Graph], list[dict[str, Any]] | None] = lambda graph: None,
) -> Outcome:
    """The same for somebody who waits for this file: one that is busy is tried again for
    `PATIENCE`, since most who open a module only read it and are done in no time."""
    until, pause = time.monotonic() + PATIENCE, 0.01
    while True:
        outcome = encode_file(core, path, request, detached=detached, compare=compare)
        if outcome.status != "busy" or time.monotonic() + pause > until:
            return outcome
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _failed(
    path: str, e: Problem, stamp: Stamp | None, *, lasting: bool, explain: bool = False
) -> Outcome:
    cause, hint = e.cause, e.hint
    if explain and hint is None:
        cause, hint = elf.why_not(path) or (cause, hint)
    if e.path is not None and e.path != path:
        cause = f"{e.path}: {cause}"
    bare = explain and elf.is_bare(path)
    return Outcome(
        path, "failed", cause, hint, stamp=stamp, input=stamp, lasting=lasting, bare=bare
    )


def _install(
    core: Core,
    path: str,
    prepared: Prepared,
    detached: str | None,
    compare: Callable[[Graph], list[dict[str, Any]] | None],
) -> Outcome:
    base, made, done = prepared.request.base, prepared.made, prepared.done
    stages = dict(prepared.stages)
    started = time.perf_counter()
    stamp, held = made.stamp, None
    if detached is not None:
        status = _write_detached(core, detached, done.btf)
    else:
        word, stamp = core.install(
            path, done.btf, made.stamp, btf_ids=done.words, base=made.btf_base
        )
        status = _STATUS[word]
        if prepared.request.kept is not None and base is not None:
            held = prepared.request.kept.put(path, base.base, made)
    installed = time.perf_counter()
    stages["install"] = (installed - started) * 1000
    feedback = compare((done.btf, base.base if base else None, made.btf_base))
    if feedback is not None:
        stages["feedback"] = (time.perf_counter() - installed) * 1000
    return Outcome(
        path,
        status,
        types=made.types,
        size=len(done.btf),
        full_size=made.full_size,
        stamp=stamp,
        input=made.stamp,
        stages=stages,
        warnings=(*prepared.warnings, *made.warnings, *done.warnings),
        target=detached,
        link=_link(made),
        feedback=feedback,
        held=held,
    )


def of_moved(module: "Movable", made: Moved) -> Outcome:
    """What became of a module that was not encoded: what was kept of it was put onto the base."""
    return Outcome(
        module.path,
        _STATUS[made.status],
        types=made.types,
        size=len(made.btf),
        stamp=made.stamp,
        input=module.stamp,
        stages=dict(made.stages),
        warnings=tuple(made.warnings),
        held=module.held,
    )


def full_is_cheap(path: str) -> bool:
    """Whether somebody who waits for one file's result may be given its full size too."""
    try:
        return os.stat(path).st_size <= FULL_UP_TO
    except OSError:
        return False


def usable(request: Request, detached: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features that make sense for one file, and a warning for each that does not."""
    features = request.options.features
    if "distilled_base" not in features:
        return features, ()
    if detached is not None:
        why = "a raw file has no place for .BTF.base"
    elif request.base is None:
        why = "there is no base to distil"
    else:
        return features, ()
    rest = tuple(name for name in features if name != "distilled_base")
    return rest, (f"distilled_base is left out: {why}",)


def _link(made: Encoded) -> tuple[str, bytes] | None:
    ids = made.ids
    return (ids.build_id, ids.pristine) if ids is not None and ids.build_id is not None else None


def _made_for(vermagic: str | None) -> str:
    return (vermagic or "").split(" ", 1)[0]


def kernel_release(core: Core, path: str) -> str | None:
    """The release that a vmlinux was built as; the running kernel's for /sys/kernel/btf/vmlinux."""
    if os.path.realpath(path) == "/sys/kernel/btf/vmlinux":
        return os.uname().release
    try:
        found = _BANNER.search(core.read_section(path, ".rodata") or b"")
    except Problem:
        return None
    return None if found is None else found[1].decode("ascii")


def check_release(vermagic: str | None, base: BaseInfo) -> None:
    """Refuses a module that was made for another kernel than the base, where both are known."""
    made_for = _made_for(vermagic)
    if made_for and base.release and made_for != base.release:
        raise Problem(
            f"made for kernel {made_for}, the base is of {base.release}",
            hint="give the vmlinux that it was built with, or --force-base",
        )


def _write_detached(core: Core, target: str, btf: bytes) -> str:
    try:
        with open(target, "rb") as f:
            if f.read(len(btf) + 1) == btf:
                return "unchanged"
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    core.write_detached(target, btf)
    return "encoded"
