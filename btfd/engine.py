"""The seam to the Rust core: what policy needs of it, and nothing else.

Contract: `Core` is the whole of what the rest of the Python side knows about encoding. `native()`
gives the real one; tests pass one of their own. Errors of the core arrive as `Refused`,
`Superseded` and `Busy`. Paths are `str` with surrogateescape, so that any file name passes.

Cost: a call is one hop into `btfd._core`, which releases the GIL while it works; the extension is
imported at the first call of `native()`, so `btfd --help` does not pay for it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from btfd.errors import Busy, Refused, Superseded

if TYPE_CHECKING:
    from btfd import _core

#: (device, inode, size, mtime_ns, ctime_ns): the name of one state of one file.
Stamp = tuple[int, int, int, int, int]


#: File, line and column (from 1; column 0: not known).
Place = tuple[str, int, int]


def stamp_of(path: str) -> Stamp | None:
    """The stamp of what `path` names now, or None where there is nothing."""
    try:
        return stamp_from(os.stat(path))
    except OSError:
        return None


def stamp_from(s: os.stat_result) -> Stamp:
    """The stamp in what `stat` says of a file."""
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


class Base(Protocol):
    """Base BTF, parsed and indexed; read-only, shared by all threads."""

    @property
    def digest(self) -> str: ...
    @property
    def types(self) -> int: ...
    @property
    def size(self) -> int: ...
    def to_bytes(self) -> bytes: ...


#: BTF, the base that it stands on, and the distilled base that it came with, if any.
Graph = tuple[bytes, Base | None, bytes | None]


class Ids(Protocol):
    """The words of a module's `.BTF_ids`."""

    @property
    def build_id(self) -> str | None: ...
    @property
    def pristine(self) -> bytes: ...
    @property
    def resolved(self) -> bytes: ...
    @property
    def settled(self) -> bool: ...
    @property
    def kfunc_flags(self) -> int: ...
    @property
    def arena_parameters(self) -> bool: ...


class Encoded(Protocol):
    """What one encode made."""

    @property
    def btf(self) -> bytes: ...
    @property
    def ids(self) -> Ids | None: ...
    @property
    def btf_base(self) -> bytes | None: ...
    @property
    def types(self) -> int: ...
    @property
    def full_size(self) -> int | None: ...
    @property
    def stamp(self) -> Stamp: ...
    @property
    def vermagic(self) -> str | None: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def stages(self) -> dict[str, float]: ...
    @property
    def kept(self) -> bytes | None: ...
    @property
    def units(self) -> tuple[int, int]:
        """All, and those that were not read."""
        ...

    @property
    def remembered(self) -> "Remembered | None": ...


class Remembered(Protocol):
    """What the units of one link of a file told."""

    @property
    def size(self) -> int: ...


class Moved(Protocol):
    """A module that has its BTF over another base."""

    @property
    def status(self) -> str: ...
    @property
    def btf(self) -> bytes: ...
    @property
    def types(self) -> int: ...
    @property
    def stamp(self) -> Stamp: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def stages(self) -> Mapping[str, float]: ...


#: A module to be moved: its path, the state that the file must be in, the file that holds what was
#: kept, the mark that this begins with; of one with `.BTF_ids`, the build id and pristine words.
Order = tuple[str, Stamp, str, bytes, tuple[str, bytes] | None]


class Rebase(Protocol):
    """A way from one base to another."""

    def install(self, modules: Sequence[Order], *, release: str | None) -> Sequence[Moved | None]:
        """Puts what was kept of modules into their files; None for each that is as it was.

        `release`: those of another kernel stay as they are.
        """
        ...


class Core(Protocol):
    """Bytes in, bytes out. Every method may raise `Refused`."""

    def load_base(self, path: str) -> Base:
        """Parses and indexes base BTF: an ELF file with .BTF, or a raw BTF file."""
        ...

    def parse_base(self, btf: bytes, digest: str) -> Base:
        """The same from raw BTF, of which the digest is known."""
        ...

    def encode(
        self,
        path: str,
        base: Base | None,
        features: Sequence[str],
        *,
        lang_exclude: Sequence[str],
        threads: int,
        full: bool,
        resolve: bool,
        earlier: tuple[str, bytes] | None,
        keep: bool = False,
        remembered: Remembered | None = None,
    ) -> Encoded:
        """DWARF to BTF, over `base` or stand-alone. Writes nothing.

        With `resolve` also the words for `.BTF_ids`; `earlier`: build id and pristine words of an
        earlier sight. With `keep` also what a change of the base needs. With `remembered`, units
        of an earlier link are not read again.
        """
        ...

    def remember_nothing(self) -> Remembered:
        """What the first encode of a file begins with that is to be remembered."""
        ...

    def rebase(self, old: Base, new: Base) -> Rebase:
        """A way from one base to another, for what was kept of encodes over the old one."""
        ...

    def install(
        self,
        path: str,
        btf: bytes,
        stamp: Stamp,
        *,
        btf_ids: bytes | None = None,
        base: bytes | None = None,
    ) -> tuple[str, Stamp]:
        """BTF (and words) into the file of this stamp: "written" or "unchanged", and its new stamp.

        `base` is the distilled base that goes with it. Also raises `Superseded` and `Busy`.
        """
        ...

    def read_section(self, path: str, name: str) -> bytes | None:
        """The bytes of a section of an ELF file."""
        ...

    def write_detached(self, path: str, btf: bytes) -> None:
        """Writes a raw BTF file, whole or not at all."""
        ...

    def read_btf(self, path: str) -> bytes:
        """The raw BTF of a file."""
        ...

    def read_layers(self, path: str) -> tuple[bytes, bytes | None]:
        """The raw BTF of a file, and the distilled base that it comes with, if any."""
        ...

    def verify(
        self, btf: bytes, base: Base | None, distilled: bytes | None = None
    ) -> list[tuple[str, bool]]:
        """What the kernel would object to; empty when it would accept."""
        ...

    def dump(self, btf: bytes, base: Base | None, form: str, distilled: bytes | None = None) -> str:
        """As text: raw, c or json; over the distilled base, or relocated onto `base`."""
        ...

    def diff(self, old: Graph, new: Graph) -> list[dict[str, Any]]:
        """What changed, by name; the objects of docs/feedback.md."""
        ...

    def layout(self, graph: Graph, name: str) -> tuple[str, list[dict[str, Any]]] | None:
        """A struct or union as text, and its rows; None where there is none of this name."""
        ...

    def distill(self, base: Base, split: bytes) -> tuple[bytes, bytes]:
        """What `split` needs of its base, and `split` on top of that."""
        ...

    def lines(
        self, path: str, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[Place, dict[str, Place]]]:
        """Where DWARF says that things (kind, name) and their parts are declared."""
        ...


class _Rebase:
    """`Rebase` over the Rust extension."""

    def __init__(self, rebase: "_core.Rebase") -> None:
        self._rebase = rebase

    def install(self, modules: Sequence[Order], *, release: str | None) -> Sequence[Moved | None]:
        name = os.fsencode
        orders = [(name(m[0]), m[1], name(m[2]), m[3], m[4]) for m in modules]
        return self._rebase.install(orders, release=release)


class Native:
    """`Core` over the Rust extension."""

    def __init__(self) -> None:
        from btfd import _core

        self._core = _core

    @contextmanager
    def _translate(self, path: str | None = None) -> Iterator[None]:
        core = self._core
        try:
            yield
        except core.Superseded as e:
            raise Superseded(str(e), hint=e.hint, path=path) from e
        except core.Busy as e:
            raise Busy(str(e), hint=e.hint, path=path) from e
        except core.CoreError as e:
            raise Refused(str(e), kind=e.kind, hint=e.hint, path=path) from e

    def load_base(self, path: str) -> Base:
        with self._translate(path):
            return self._core.Base.load(os.fsencode(path))

    def parse_base(self, btf: bytes, digest: str) -> Base:
        with self._translate():
            return self._core.Base.from_bytes(btf, digest=digest)

    def encode(
        self,
        path: str,
        base: Base | None,
        features: Sequence[str],
        *,
        lang_exclude: Sequence[str],
        threads: int,
        full: bool,
        resolve: bool,
        earlier: tuple[str, bytes] | None,
        keep: bool = False,
        remembered: Remembered | None = None,
    ) -> Encoded:
        with self._translate(path):
            return self._core.encode(
                os.fsencode(path),
                _own(base),
                features,
                lang_exclude=lang_exclude,
                threads=threads,
                full=full,
                resolve=resolve,
                earlier=earlier,
                keep=keep,
                remembered=_remembered(remembered),
            )

    def remember_nothing(self) -> Remembered:
        return self._core.Remembered()

    def rebase(self, old: Base, new: Base) -> Rebase:
        with self._translate():
            a, b = _own(old), _own(new)
            assert a is not None and b is not None
            return _Rebase(self._core.Rebase(a, b))

    def install(
        self,
        path: str,
        btf: bytes,
        stamp: Stamp,
        *,
        btf_ids: bytes | None = None,
        base: bytes | None = None,
    ) -> tuple[str, Stamp]:
        with self._translate(path):
            return self._core.install(os.fsencode(path), btf, stamp, btf_ids=btf_ids, base=base)

    def read_section(self, path: str, name: str) -> bytes | None:
        with self._translate(path):
            return self._core.read_section(os.fsencode(path), name)

    def write_detached(self, path: str, btf: bytes) -> None:
        with self._translate(path):
            self._core.write_detached(os.fsencode(path), btf)

    def read_btf(self, path: str) -> bytes:
        with self._translate(path):
            return self._core.read_btf(os.fsencode(path))

    def read_layers(self, path: str) -> tuple[bytes, bytes | None]:
        with self._translate(path):
            return self._core.read_layers(os.fsencode(path))

    def verify(
        self, btf: bytes, base: Base | None, distilled: bytes | None = None
    ) -> list[tuple[str, bool]]:
        with self._translate():
            return self._core.verify(btf, _own(base), distilled)

    def dump(self, btf: bytes, base: Base | None, form: str, distilled: bytes | None = None) -> str:
        with self._translate():
            return self._core.dump(btf, _own(base), form, distilled)

    def diff(self, old: Graph, new: Graph) -> list[dict[str, Any]]:
        with self._translate():
            return self._core.diff((old[0], _own(old[1]), old[2]), (new[0], _own(new[1]), new[2]))

    def layout(self, graph: Graph, name: str) -> tuple[str, list[dict[str, Any]]] | None:
        with self._translate():
            return self._core.layout((graph[0], _own(graph[1]), graph[2]), os.fsencode(name))

    def distill(self, base: Base, split: bytes) -> tuple[bytes, bytes]:
        with self._translate():
            return self._core.distill([base.to_bytes()], split)

    def lines(
        self, path: str, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[Place, dict[str, Place]]]:
        with self._translate(path):
            return self._core.lines(os.fsencode(path), wanted)


def _own(base: Base | None) -> "_core.Base | None":
    """A base that came from `Native.load_base`, under the name that the extension knows it by."""
    return cast("_core.Base | None", base)


def _remembered(remembered: Remembered | None) -> "_core.Remembered | None":
    """The same of what came from `Native.remember_nothing` or an encode."""
    return cast("_core.Remembered | None", remembered)


def native() -> Core:
    """The real core."""
    return Native()
