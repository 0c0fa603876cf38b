"""One kernel build: its base, its modules, and which of them are stale, with the reason.

Contract: truth is what stat and the bytes say, never an event. A module is stale when the state of
its file (device, inode, size, mtime, ctime) is not the one that we left, when the base's .BTF has
another digest than the one it was encoded against, or when the encoder's options are others. A
vmlinux that was relinked with the same .BTF makes nothing stale. A failure is kept like a success:
the same input (file, base, options, resolver) is not tried twice. BTF that kbuild made is kept as
it is while it is right. A module whose real place is outside the tree, or in a tree within it, is
not this tree's. One thread only; the store is the memory.

Cost: `modules` reads modules.order or walks the tree (0.3 s for 5,000 directories); `stale` is one
stat a module, and one read of the section table for each whose state is new. modules.order is only
parsed where its bytes are others than the last time. The base is parsed
when it is first needed (0.1 s for 4 MB), not to find out that nothing is stale.
"""

import contextlib
import enum
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from btfd import elf, kbuild, resolver, usage
from btfd.bases import Bases
from btfd.encode import BaseInfo, Outcome, Request, encode_file
from btfd.engine import Core, Stamp, stamp_from, stamp_of
from btfd.errors import Problem, Refused
from btfd.kbuild import EncoderOptions
from btfd.kept import Kept, Movable
from btfd.store import BaseRecord, Held, Record, Store
from btfd.writers import being_written

#: Part of every options key: results of another encoder are not ours.
ENCODER = "btfd-1"

NO_BTF = "no BTF"
NEW_LINK = "new link"
BASE_CHANGED = "base changed"
OPTIONS_CHANGED = "options changed"
NEVER = "never encoded here"

#: A module without DWARF, in the index: no failure of the tree, but nothing was made either.
SKIPPED = "skipped"
#: BTF of kbuild's own making that was found right.
KEPT = "kept"


class BaseState(enum.Enum):
    """What a look at vmlinux found."""

    UNTOUCHED = "untouched"
    SAME = "relinked with the same BTF"
    CHANGED = "changed"
    MISSING = "missing"
    WRITING = "being written"
    UNUSABLE = "unusable"


class BaseNews(NamedTuple):
    """The state, and the problem where it is not usable."""

    state: BaseState
    problem: Problem | None = None


class Stale(NamedTuple):
    """A module that needs work. `path` is relative to the tree."""

    path: str
    reason: str


class BuildTree:
    """A build tree as far as BTF is concerned."""

    def __init__(
        self,
        root: str,
        core: Core,
        store: Store,
        *,
        adjust: Callable[[EncoderOptions], EncoderOptions] | None = None,
        encode_base: bool = False,
        force_base: bool = False,
        threads: int = 1,
        resolve_btfids: str = "",
        use: str = kbuild.AUTO,
        base: str = "",
        bases: Bases | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.root = os.path.realpath(root)
        self.base_path = os.path.join(self.root, kbuild.BASE)
        self.kernel = self.root
        """Where kbuild's facts are: for an external module's directory, the tree of its kernel."""
        if base:
            self.base_path = os.path.join(base, kbuild.BASE) if os.path.isdir(base) else base
            self.kernel = os.path.realpath(os.path.dirname(self.base_path))
        self._core = core
        self._bases = Bases(core) if bases is None else bases
        self._kept = kept
        self._store = store
        self._records = store.modules(self.root)
        self._links = store.links(self.root)
        self._unsaved: dict[str, Record] = {}
        self._order: tuple[bytes, list[str]] = (b"", [])
        """modules.order as it was last read, and what it lists."""
        self._unknown: dict[str, tuple[Stamp, str]] = {}
        """Why modules without a record are stale, in this state of their files."""
        self._base: BaseInfo | None = None
        self._replaced: BaseInfo | None = None
        self._base_stamp: Stamp | None = None
        self._looked_at: Stamp | None = None
        self._digest: str | None = None
        self._release: str | None = None
        self._bad_base: tuple[Stamp, Problem] | None = None
        self.configure(
            adjust=adjust,
            encode_base=encode_base,
            force_base=force_base,
            threads=threads,
            resolve_btfids=resolve_btfids,
            use=use,
        )

    def configure(
        self,
        *,
        adjust: Callable[[EncoderOptions], EncoderOptions] | None,
        encode_base: bool,
        force_base: bool,
        threads: int,
        resolve_btfids: str,
        use: str,
    ) -> None:
        """Takes what the user wants of this tree. `adjust` changes what its kbuild would pass."""
        self._adjust = adjust or (lambda options: options)
        self.encode_base = encode_base
        self._force_base = force_base
        self._threads = threads
        self._resolve_btfids = resolve_btfids
        self._use = use
        self.reread_config()

    def reread_config(self) -> None:
        """Takes auto.conf as it is now; other encoder options make every module stale."""
        self.config = kbuild.read_config(self.kernel)
        self.use = usage.decide(self.config, self._use)
        release = kbuild.release_of(self.kernel)
        external = self.kernel != self.root
        self.options = self._adjust(kbuild.encoder_options(self.config, release, external=external))
        self._resolver = resolver.find(self.kernel, self._resolve_btfids)
        self._options_key = self._failure_key = f"{ENCODER};{self.options.key}"
        if self._resolver.program is not None:
            # What it refused, a newer build of it may do.
            self._failure_key += f";{self._resolver.key};{stamp_of(self._resolver.program)}"
        if (kbuild.numbers(release) or (0, 0)) >= (7, 0):
            # Before, its ids are those that we find ourselves.
            self._options_key += f";{self._resolver.key}"

    def gates(self) -> list[kbuild.Gate]:
        """What stands between this tree and module BTF."""
        return self.config.gates(encode_base=self.encode_base) if self.config else []

    # Modules

    def modules(self) -> list[str]:
        """Modules that exist, relative to the root, in kbuild's order where it keeps one."""
        return [module for module, _ in self._files()]

    def _files(self) -> Iterator[tuple[str, Stamp]]:
        """Modules and the states of their files."""
        inside: dict[str, bool] = {}
        for module in self._names():
            try:
                about = os.lstat(self.path_of(module))
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode) and self._inside(_folder(module), inside):
                yield module, stamp_from(about)

    def folders(self) -> list[str]:
        """Directories of this tree in which modules are, or were, with their whole paths."""
        inside: dict[str, bool] = {}
        folders = sorted({_folder(module) for module in self._names()})
        return [self.path_of(folder) for folder in folders if self._inside(folder, inside)]

    def path_of(self, module: str) -> str:
        """The whole path of what is named relative to the tree."""
        return f"{self.root}/{module}"

    def holds(self, module: str) -> bool:
        """Whether a module's real place is in this tree, not in another by a symbolic link.

        What two trees would both encode, over two bases, would never come to rest. The root itself
        may be a link: the tree was moved, and one left in its place.
        """
        return not os.path.islink(self.path_of(module)) and self._inside(_folder(module), {})

    def _inside(self, folder: str, known: dict[str, bool]) -> bool:
        """Whether no link leads to a directory of the tree. `known`: what was found of others."""
        found = known.get(folder)
        if found is None:
            is_link = os.path.islink(self.path_of(folder))
            found = not folder or (not is_link and self._inside(_folder(folder), known))
            known[folder] = found
        return found

    def listed(self) -> frozenset[str] | None:
        """What modules.order names; None where every `.ko` counts."""
        order = self._listing()
        return None if order is None else frozenset(order)

    def _names(self) -> list[str]:
        """Modules by name, whether they exist or not."""
        listed = self._listing()
        return self._walk() if listed is None else listed

    def _listing(self) -> list[str] | None:
        order = kbuild.read_order(self.root)
        if order is None:
            return None
        if order != self._order[0]:
            self._order = (order, kbuild.parse_order(order, self.root))
        return self._order[1]

    def _walk(self) -> list[str]:
        found: list[str] = []
        for folder, directories, files in os.walk(self.root):
            directories[:] = sorted(
                d
                for d in directories
                if os.fsencode(d) not in kbuild.SKIP
                and not os.fsencode(d).startswith(kbuild.SKIP_PREFIX)
                and not kbuild.is_tree(os.path.join(folder, d))
            )
            inside = os.path.relpath(folder, self.root)
            for name in sorted(files):
                if name.endswith(".ko"):
                    found.append(name if inside == "." else os.path.join(inside, name))
        return found

    def relative(self, path: str) -> str:
        """A path below the root, relative to it."""
        start = self.root + "/"
        return path[len(start) :] if path.startswith(start) else os.path.relpath(path, self.root)

    def why(self, module: str) -> str | None:
        """Why a module is stale, or None where it is not (or is gone)."""
        stamp = stamp_of(self.path_of(module))
        return None if stamp is None else self._why(module, stamp)

    def _why(self, module: str, stamp: Stamp) -> str | None:
        record = self._records.get(module)
        if record is None:
            return self._why_unknown(module, stamp)
        return NEW_LINK if record.stamp != stamp else self._why_old(record)

    def is_known(self, module: str) -> bool:
        """Whether a module's file is as we left it. One stat."""
        record = self._records.get(module)
        return record is not None and record.stamp == stamp_of(self.path_of(module))

    def is_right(self, module: str) -> bool:
        """Whether a module's file is as we left it, and not stale. One stat."""
        return self._is_right(module, stamp_of(self.path_of(module)))

    def is_stale(self, module: str) -> bool:
        """Whether a module is there and stale, for whatever reason. One stat."""
        stamp = stamp_of(self.path_of(module))
        return stamp is not None and not self._is_right(module, stamp)

    def _is_right(self, module: str, stamp: Stamp | None) -> bool:
        record = self._records.get(module)
        return record is not None and record.stamp == stamp and self._why_old(record) is None

    def _why_old(self, record: Record) -> str | None:
        if record.status == KEPT:
            if self.use.who != kbuild.KBUILD:
                return NEVER
        elif record.options != self._key(record.status):
            return OPTIONS_CHANGED
        if record.base != self._digest:
            return BASE_CHANGED
        return None

    def _why_unknown(self, module: str, stamp: Stamp) -> str:
        looked = self._unknown.get(module)
        if looked is not None and looked[0] == stamp:
            return looked[1]
        reason = NEVER
        try:
            self._core.read_btf(self.path_of(module))
        except Refused:
            reason = NO_BTF
        self._unknown[module] = (stamp, reason)
        return reason

    def _key(self, status: str) -> str:
        return self._failure_key if status in ("failed", SKIPPED) else self._options_key

    def stale(self) -> list[Stale]:
        """Every stale module of the tree."""
        found = ((module, self._why(module, stamp)) for module, stamp in self._files())
        return [Stale(module, reason) for module, reason in found if reason is not None]

    def right(self) -> list[str]:
        """Every module of the tree that is not stale."""
        return [module for module, stamp in self._files() if self._why(module, stamp) is None]

    def known(self, module: str) -> Record | None:
        """What is remembered of a module."""
        return self._records.get(module)

    def find(self, name: str) -> str | None:
        """The module that a path (absolute, or relative to the tree) or a bare name means."""
        if os.path.isabs(name):
            name = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
            name = self.relative(name)
        modules = self.modules()
        if name in modules:
            return name
        bare = kbuild.module_name(name)
        return next((m for m in modules if "/" not in name and kbuild.module_name(m) == bare), None)

    @property
    def release(self) -> str | None:
        """The kernel's release, where the base tells it."""
        return self._release

    def failure(self, module: str) -> str | None:
        """Why the module could not be encoded, where that is what we know of it."""
        record = self._records.get(module)
        return record.reason if record is not None and record.status == "failed" else None

    @property
    def failures(self) -> list[str]:
        """Modules of which that is known, whether they are still there or not."""
        return [name for name, record in self._records.items() if record.status == "failed"]

    @property
    def barren(self) -> bool:
        """Whether modules were skipped and not one has BTF of ours."""
        states = {record.status for record in self._records.values()}
        return SKIPPED in states and not states & {"encoded", "unchanged", KEPT}

    def movable(self, module: str) -> Movable | None:
        """What is kept of a module for which only the base has changed, where that is the case."""
        record = self._records.get(module)
        if self._kept is None or record is None or record.held is None:
            return None
        if record.options != self._key(record.status):
            return None
        link = self._links.get(module)
        if link is not None and self._resolver.program is not None:
            return None  # which alone knows what goes into .BTF_ids
        return Movable(self.path_of(module), record.stamp, record.held, link)

    def record(self, outcomes: Mapping[str, Outcome], digest: str, *, save: bool = True) -> None:
        """Remembers what came out, made against the base of this digest.

        Without `save` the index is told later; until then a kill costs that work once more.
        """
        for module, outcome in outcomes.items():
            keep = outcome.good or (outcome.status == "failed" and outcome.lasting)
            if not keep or outcome.stamp is None:
                continue
            self._forget_types(module, outcome.held)
            status = SKIPPED if outcome.bare else outcome.status
            record = Record(
                outcome.stamp,
                digest,
                self._key(status),
                status,
                outcome.reason,
                outcome.types,
                outcome.size,
                outcome.held,
            )
            self._records[module] = self._unsaved[module] = record
            self._unknown.pop(module, None)
            if outcome.link is not None and outcome.link != self._links.get(module):
                self._links[module] = outcome.link
                self._store.remember_link(self.root, module, outcome.link)
        if save:
            self.save()

    @property
    def unsaved(self) -> int:
        """Modules of which the index has to be told yet."""
        return len(self._unsaved)

    def save(self) -> None:
        """Tells the index what it does not know yet, in one transaction."""
        unsaved, self._unsaved = self._unsaved, {}
        if unsaved:
            self._store.remember(self.root, unsaved)

    def _forget_types(self, module: str, held: Held | None) -> None:
        """Drops what was kept of a module's types, unless `held` has taken its place."""
        record = self._records.get(module)
        before = None if record is None else record.held
        if self._kept is None or before is None:
            return
        if held is None or held.origin != before.origin:
            self._kept.forget(self.path_of(module), before)

    def earlier(self, module: str) -> tuple[str, bytes] | None:
        """Build id and `.BTF_ids` of a module as its link was when we first saw it."""
        return self._links.get(module)

    # Base

    @property
    def digest(self) -> str | None:
        """Of the base's .BTF, where it is known."""
        return self._digest

    @property
    def base(self) -> BaseInfo:
        """The base, loaded. `look_at_base` must have found it usable."""
        if self._base is None:
            news = self._load(stamp_of(self.base_path))
            if self._base is None:
                raise news.problem or Problem("not there", path=self.base_path)
        return self._base

    def take_replaced(self) -> BaseInfo | None:
        """The base that the present one took the place of, once; None where it was not loaded."""
        replaced, self._replaced = self._replaced, None
        return replaced

    def release_base(self) -> None:
        """Lets the base go; it is loaded again when it is needed."""
        self._base = None
        self.release_old_base()

    def release_old_base(self) -> None:
        """Lets the base go that modules came from, if they came from another."""
        if self._kept is not None:
            self._kept.release()

    def request(self) -> Request:
        """How to encode a module of this tree now."""
        return Request(
            self.options,
            self.base,
            self._threads,
            force_base=self._force_base,
            resolver=self._resolver,
            kept=self._kept,
        )

    def prepare_base(self) -> Callable[[], None]:
        """What makes it short work to look at a new vmlinux and to follow it; for any thread."""
        held = (record.held for record in self._records.values())
        origins = {one.origin for one in held if one is not None}
        path, kept, before = self.base_path, self._kept, self._digest

        def prepare() -> None:
            if being_written(path):
                return
            with contextlib.suppress(Problem):  # whoever looks at it tells
                base = self._bases.load(path).base
                if kept is not None and base.digest != before:
                    for origin in origins:
                        kept.way(origin, base)

        return prepare

    @property
    def base_unchanged(self) -> bool:
        """Whether vmlinux is the file (or the gap) that we last looked at. One stat."""
        return stamp_of(self.base_path) == self._looked_at

    def look_at_base(self) -> BaseNews:
        """Compares vmlinux with what we know; loads it only where its file is a new one."""
        stamp = self._looked_at = stamp_of(self.base_path)
        if stamp is None:
            return BaseNews(
                BaseState.MISSING, Problem("no vmlinux in the tree", path=self.base_path)
            )
        if stamp == self._base_stamp:
            return BaseNews(BaseState.UNTOUCHED)
        if self._bad_base is not None and self._bad_base[0] == stamp:
            return BaseNews(BaseState.UNUSABLE, self._bad_base[1])
        if being_written(self.base_path):
            return BaseNews(BaseState.WRITING)
        if self._base_stamp is None:
            known = self._store.base(self.root)
            if known is not None and known.stamp == stamp:
                self._digest, self._release = known.digest, known.release
                self._base_stamp = stamp
                return BaseNews(BaseState.CHANGED)
        return self._load(stamp)

    def _load(self, stamp: Stamp | None) -> BaseNews:
        before = self._digest
        try:
            base = self._load_or_make()
        except Problem as e:
            if stamp is not None and stamp == stamp_of(self.base_path):
                self._bad_base = (stamp, e)
            return BaseNews(BaseState.UNUSABLE, e.at(self.base_path))
        after = stamp_of(self.base_path)
        if after is None or (after != stamp and not self.encode_base):
            return BaseNews(BaseState.WRITING)
        if self._base is not None and self._base.base.digest != base.base.digest:
            self._replaced = self._base
        self._base = base
        self._digest, self._release = base.base.digest, base.release
        self._base_stamp = self._looked_at = after
        self._bad_base = None
        self._store.remember_base(self.root, BaseRecord(after, base.base.digest, base.release))
        return BaseNews(BaseState.SAME if base.base.digest == before else BaseState.CHANGED)

    def _load_or_make(self) -> BaseInfo:
        try:
            return self._bases.load(self.base_path)
        except Refused:
            if not (self.encode_base and self.base_can_be_made()):
                raise
            made = encode_file(
                self._core, self.base_path, Request(self.options, threads=max(1, self._threads))
            )
            if not made.good:
                raise Problem(made.reason or made.status, hint=made.hint) from None
            return self._bases.load(self.base_path)

    def base_can_be_made(self) -> bool:
        """Whether vmlinux has DWARF and no BTF.

        Kbuild's own BTF is linked in, so that a vmlinux that nobody is writing and that has none
        will not get one from kbuild any more.
        """
        try:
            found = elf.identify(self.base_path)
        except OSError:
            return False
        return found.has_dwarf and not found.has_btf


def _folder(path: str) -> str:
    """Where a path relative to the tree is; empty for the tree itself."""
    return path.rpartition("/")[0]
