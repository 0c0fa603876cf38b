"""The Rust core's face: bytes in, bytes out. No policy, and the GIL released while it works."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

Path = str | bytes | PathLike[str] | PathLike[bytes]
#: (device, inode, size, mtime_ns, ctime_ns) of a file, as `os.stat` gives them.
Stamp = tuple[int, int, int, int, int]

#: File, line and column (from 1; column 0: not known).
Place = tuple[str, int, int]

#: pahole's names of all features, in its order.
FEATURES: tuple[str, ...]
#: Those of them that `default` stands for.
DEFAULT_FEATURES: tuple[str, ...]

class CoreError(Exception):
    """Input that cannot be served. `str(e)` is one line that names the cause."""

    kind: str
    """The layer that refused: io, elf, dwarf, btf, dedup, encode or install."""
    hint: str | None
    """What the user can do about it."""
    errno_name: str | None
    """The errno that libbpf has for it, such as EINVAL or ELOOP, where there is one."""

class Superseded(CoreError):
    """The path no longer names the bytes that were read: a newer link is there. Nothing was written."""

class Busy(CoreError):
    """Somebody else has the file open. Nothing was written; try again."""

class Base:
    """Base BTF, parsed and indexed once, immutable, shared by all threads."""

    @staticmethod
    def load(path: Path) -> Base:
        """From an ELF file with a .BTF section, or a raw BTF file such as /sys/kernel/btf/vmlinux."""
    @staticmethod
    def from_bytes(btf: bytes, *, digest: str | None = None) -> Base:
        """From raw BTF; `digest`, where it is known, is taken as given."""
    @property
    def digest(self) -> str:
        """SHA-256 of the BTF bytes, in hexadecimal digits."""
    @property
    def types(self) -> int:
        """Number of types, void left out."""
    @property
    def size(self) -> int:
        """Bytes of BTF."""
    def to_bytes(self) -> bytes:
        """The BTF bytes that it was made from."""

class Ids:
    """The words of a module's .BTF_ids: what its code reads type ids from."""

    @property
    def build_id(self) -> str | None:
        """Of the link, in hexadecimal digits: by it, kept words are known again."""
    @property
    def pristine(self) -> bytes:
        """The words that the linker wrote: ids and counts 0, flags where the compiler put them."""
    @property
    def fresh(self) -> bool:
        """The file has these, nothing resolved it yet."""
    @property
    def resolved(self) -> bytes:
        """The words for the new BTF, as resolve_btfids of Linux 5.16 to 6.19 makes them."""
    @property
    def settled(self) -> bool:
        """The file has those already."""
    @property
    def kfunc_flags(self) -> int:
        """The flags of all kfuncs in sets for registration, or'ed."""
    @property
    def arena_parameters(self) -> bool:
        """A kfunc of the module has a parameter `*__arena`, which Linux 7.3 takes for a flag."""

class Encoded:
    """What one encode made, and of what."""

    @property
    def btf(self) -> bytes: ...
    @property
    def ids(self) -> Ids | None:
        """For a relocatable file with .BTF_ids, where they were to be resolved."""
    @property
    def btf_base(self) -> bytes | None:
        """The distilled base that `btf` stands on, where the feature distilled_base is on."""
    @property
    def types(self) -> int:
        """Types in the split BTF."""
    @property
    def functions(self) -> int:
        """FUNCs in the split BTF."""
    @property
    def full_size(self) -> int | None:
        """Bytes that the module's BTF takes without a base, when asked for."""
    @property
    def stamp(self) -> Stamp:
        """Of the file that was read."""
    @property
    def vermagic(self) -> str | None:
        """From .modinfo."""
    @property
    def warnings(self) -> list[str]:
        """One line each: what was left out or sanitized, and why."""
    @property
    def stages(self) -> dict[str, float]:
        """Milliseconds: read, dwarf, append, dedup; ids and full where there are some."""
    @property
    def kept(self) -> bytes | None:
        """What `Rebase.install` needs, where it was asked for and types could be told by identity."""
    @property
    def units(self) -> tuple[int, int]:
        """How many compilation units it has, and how many of these were not read."""
    @property
    def remembered(self) -> Remembered | None:
        """What an encode of the next link of the file may begin with, where that was asked for."""

class Remembered:
    """What the units of one link of a file told; immutable. `Remembered()` is nothing."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""

def encode(
    path: Path,
    base: Base | None,
    features: Sequence[str],
    *,
    lang_exclude: Sequence[str] = (),
    threads: int = 1,
    full: bool = False,
    resolve: bool = True,
    earlier: tuple[str, bytes] | None = None,
    keep: bool = False,
    remembered: Remembered | None = None,
) -> Encoded:
    """DWARF of `path` to BTF: split over `base`, or stand-alone without one.

    `features` are pahole's names, exactly those that are on. The result is the same bytes for
    every number of threads.

    `resolve`: also find the words for .BTF_ids. Where the file's were resolved before, those of the
    linker are recovered from `earlier` (build id and `pristine` of an earlier sight), or from the BTF
    that it has now over its .BTF.base or `base`; CoreError where that would be a guess.

    `remembered`: of an earlier link of the file; units that it had are not read again. The result is
    the same bytes, and remembers these units in its turn; over a base, as with `keep`.
    Errors: CoreError.
    """

class Moved:
    """A module whose file has its BTF over another base."""

    @property
    def status(self) -> str:
        """As that of `install`."""
    @property
    def btf(self) -> bytes: ...
    @property
    def types(self) -> int:
        """Types in the split BTF."""
    @property
    def stamp(self) -> Stamp:
        """Of the file as it is now."""
    @property
    def warnings(self) -> list[str]:
        """Those of the encode."""
    @property
    def stages(self) -> dict[str, float]:
        """Milliseconds: move, install."""

class Rebase:
    """A way from one base to another, for what was kept of encodes over the old one.

    Cost: 10 ms and, for each base once, 15 ms for the identities of its types; 6 MB.
    """

    def __init__(self, old: Base, new: Base) -> None: ...
    def install(
        self,
        modules: Sequence[tuple[bytes, Stamp, bytes, bytes, tuple[str, bytes] | None]],
        *,
        release: str | None = None,
    ) -> list[Moved | None]:
        """Puts the BTF of modules over the new base into their files, one after the other.

        Of each module the path, the stamp that the file must have, the path of a file that holds 8
        bytes and after them `Encoded.kept` of an encode over the old base, those bytes, and `earlier`
        as with `encode`, without which a module with .BTF_ids is left as it is. The BTF is the same bytes as those of an encode over the new base. None for each module that is left
        as it was, for whatever reason: only the DWARF can tell, what was kept is damaged or of
        another version, the file is another one or in use. With `release`, also where the module was
        made for another kernel. About 0.1 ms for a module.
        """

def install(
    path: Path,
    btf: bytes,
    stamp: Stamp,
    *,
    btf_ids: bytes | None = None,
    base: bytes | None = None,
) -> tuple[str, Stamp]:
    """Puts `btf` into the ELF file `path`, which must still be the file with this stamp.

    `btf_ids` replaces the content of .BTF_ids in the same step, and `base` is the distilled base
    that comes with `btf` as .BTF.base.

    Returns "written", or "unchanged" where the file has these very bytes already, and the stamp
    that the file has now. Afterwards there is exactly one .BTF, and one .BTF.base or none as `base`
    says; a kill at any moment leaves the old file or the new one. Errors: Superseded, Busy, CoreError; the file is then untouched.
    """

def write_detached(path: Path, btf: bytes) -> None:
    """Writes a raw BTF file: the old one or the new one, never half."""

def resolve_ids(
    path: Path, btf: bytes, base: Base | None, *, earlier: tuple[str, bytes] | None = None
) -> tuple[Ids, list[str]] | None:
    """The words of a relocatable file's .BTF_ids for this BTF, and warnings; None where it has none.

    As with `encode`, which does the same for the BTF that it makes.
    """

def read_section(path: Path, name: str) -> bytes | None:
    """The bytes of the first section of that name in an ELF file, None where there is none."""

def read_btf(path: Path) -> bytes:
    """The raw BTF of an ELF file or raw file; CoreError where there is none."""

def read_layers(path: Path) -> tuple[bytes, bytes | None]:
    """The raw BTF of a file, and the distilled base that it comes with (.BTF.base), if any."""

def verify(
    btf: bytes, base: Base | None, distilled: bytes | None = None
) -> list[tuple[str, bool]]:
    """What is wrong with `btf` over this very base, one line each; empty when it would load.

    The flag tells whether the kernel itself refuses it; where not, it loads and is wrong all the
    same, mostly since it was made against another base. BTF that comes with a distilled base is put
    onto `base` first, as the kernel does when it loads the module; without `base` only the two are
    checked.
    """

def dump(btf: bytes, base: Base | None, format: str, distilled: bytes | None = None) -> str:
    """As text: "raw" as bpftool prints it, "c" as a header, "json".

    BTF that comes with a distilled base is shown over that, or relocated where `base` is given.
    """

def distill(layers: Sequence[bytes], split: bytes) -> tuple[bytes, bytes]:
    """The part of the layers below that `split` needs, and `split` on top of that."""

def relocate(split: bytes, distilled: bytes, base: Base) -> bytes:
    """Puts `split`, which stands on a distilled base, onto `base`; CoreError where it does not fit."""

def permute(layers: Sequence[bytes], btf: bytes, ids: Sequence[int]) -> bytes:
    """Renumbers the types of the top layer: one new id for each, first 0 for void if it stands alone."""

def sort_by_name(layers: Sequence[bytes], btf: bytes) -> bytes:
    """Renumbers the types of the top layer by name, nameless ones first, ties by old id."""

def dedup(layers: Sequence[bytes], split: bytes) -> bytes:
    """Deduplicates `split` over the layers below, lowest first."""

#: BTF, the base that it stands on, and the distilled base that it came with; the latter is preferred.
Graph = tuple[bytes, Base | None, bytes | None]

def diff(old: Graph, new: Graph) -> list[dict[str, Any]]:
    """What changed, by name, sorted by kind and name; see docs/feedback.md for the objects.

    Ids, order and the side of the split on which a type stands do not matter. Types of the bases are
    compared only where these differ, and only those that either layer refers to. The first comparison
    over a base indexes its names (some milliseconds).
    """

def layout(graph: Graph, name: bytes) -> tuple[str, list[dict[str, Any]]] | None:
    """A struct, union, or typedef of one, laid out: as text, and its rows (see `btfd layout --help`).

    None where there is none of this name; `struct x` and `union x` pick.
    """

def lines(
    path: Path, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[Place, dict[str, Place]]]:
    """Where DWARF says that things (kind and name) are declared, with their members or enumerators.

    What it does not say, or cannot be read, is left out. A `Place` is file, line and column.
    """

def find(layers: Sequence[bytes], name: bytes, kind: str | None) -> int | None:
    """Lowest type id with this name (and kind: `struct`, `func_proto`, ...); lower layers first."""

def _parse(layers: Sequence[bytes], btf: bytes) -> None:
    """Only checks that `btf` is BTF on top of the layers."""
