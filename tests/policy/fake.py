"""A core in memory for tests of policy: same contract, no DWARF.

A "module" is a text file: `src <words>` is what its DWARF says, an optional second line `btf <hex>`
its .BTF, and a third `base <hex>` its .BTF.base. Its BTF over a base is a hash of both. A "vmlinux"
is a file with a line `btf <hex>`.
"""

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from btfd.engine import Base, Encoded, Graph, Ids, Moved, Order, Place, Rebase, Stamp, stamp_of
from btfd.errors import Busy, Refused, Superseded


@dataclass(frozen=True)
class FakeBase:
    btf: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.btf).hexdigest()

    @property
    def types(self) -> int:
        return 1

    @property
    def size(self) -> int:
        return len(self.btf)

    def to_bytes(self) -> bytes:
        return self.btf


@dataclass(frozen=True)
class FakeEncoded:
    btf: bytes
    stamp: Stamp
    vermagic: str | None = None
    ids: Ids | None = None
    btf_base: bytes | None = None
    types: int = 3
    full_size: int | None = None
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=lambda: {"read": 1.0, "dwarf": 2.0})
    kept: bytes | None = None
    units: tuple[int, int] = (1, 0)
    remembered: "FakeRemembered | None" = None


@dataclass(frozen=True)
class FakeRemembered:
    """The words of a source, each of which is a unit."""

    words: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return FakeCore.UNIT * len(self.words)


@dataclass(frozen=True)
class FakeMoved:
    status: str
    btf: bytes
    stamp: Stamp
    types: int = 3
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=lambda: {"move": 1.0, "install": 1.0})


@dataclass
class FakeRebase:
    """What was kept is a mark, then a name, the source and features."""

    core: "FakeCore"
    new: Base

    def install(self, modules: Sequence[Order], *, release: str | None) -> Sequence[Moved | None]:
        return [self._install(*module, release) for module in modules]

    def _install(
        self,
        path: str,
        stamp: Stamp,
        place: str,
        mark: bytes,
        link: tuple[str, bytes] | None,
        release: str | None,
    ) -> Moved | None:
        self.core.order.append(os.path.basename(path))
        assert self.core.gate.wait(30)
        try:
            kept = Path(place).read_bytes()
        except OSError:
            return None
        name, source, features = (kept[len(mark) :].decode("utf-8", "replace") + "||").split("|")[
            :3
        ]
        if not kept.startswith(mark) or name != os.path.basename(path) or name in self.core.unsure:
            return None
        if release is not None and self.core.vermagic not in (None, release):
            return None
        if not features.endswith(";"):
            return None  # the end is missing
        btf = FakeCore.btf_of(source, self.new, features[:-1])
        try:
            status, stamp = self.core.install(path, btf, stamp)
        except Refused:
            return None
        self.core.moved[name] += 1
        return FakeMoved(status, btf, stamp)


@dataclass
class FakeCore:
    """Counts what it was asked to do; `gate` holds encodes back, `busy` makes installs fail."""

    encoded: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    """What was begun, encodes and moves."""
    spared: Counter[str] = field(default_factory=Counter)
    """Units that were not read."""
    moved: Counter[str] = field(default_factory=Counter)
    unsure: set[str] = field(default_factory=set)
    """Names of modules of which nothing can be told without their DWARF."""
    bases: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    busy: Counter[str] = field(default_factory=Counter)
    vermagic: str | None = None
    full: bool = False
    """Every install meets a full disk."""
    denied: set[str] = field(default_factory=set)
    """Names of files that may not be replaced."""

    UNIT: ClassVar[int] = 1 << 20
    """Bytes that a remembered unit takes."""

    def __post_init__(self) -> None:
        self.gate.set()

    def load_base(self, path: str) -> Base:
        return self.parse_base(self.read_btf(path), "")

    def parse_base(self, btf: bytes, digest: str) -> Base:
        self.bases += 1
        return FakeBase(btf)

    def encode(
        self,
        path: str,
        base: Base | None,
        features: Sequence[str],
        *,
        lang_exclude: Sequence[str],
        threads: int,
        full: bool,
        resolve: bool = True,
        earlier: tuple[str, bytes] | None = None,
        keep: bool = False,
        remembered: Any = None,
    ) -> Encoded:
        name = os.path.basename(path)
        self.encoded[name] += 1
        self.order.append(name)
        assert self.gate.wait(30)
        stamp = stamp_of(path)
        source = _line(path, "src")
        if source is None or stamp is None:
            raise Refused("no DWARF", kind="dwarf", hint="build with debug information", path=path)
        btf = self.btf_of(source, base, ",".join(features))
        below = b"distilled" if "distilled_base" in features else None
        kept = f"{name}|{source}|{','.join(features)};".encode() if keep else None
        whole = 100 if full else None
        words = tuple(source.split())
        made = FakeEncoded(btf, stamp, self.vermagic, btf_base=below, full_size=whole, kept=kept)
        if remembered is None:
            return replace(made, units=(len(words), 0))
        spared = len(set(words) & set(remembered.words))
        self.spared[name] += spared
        return replace(made, units=(len(words), spared), remembered=FakeRemembered(words))

    def remember_nothing(self) -> FakeRemembered:
        return FakeRemembered()

    @staticmethod
    def btf_of(source: str, base: Base | None, features: str) -> bytes:
        seed = f"{source}|{base.digest if base else ''}|{features}"
        return hashlib.sha256(seed.encode()).digest()

    def rebase(self, old: Base, new: Base) -> Rebase:
        return FakeRebase(self, new)

    def install(
        self,
        path: str,
        btf: bytes,
        stamp: Stamp,
        *,
        btf_ids: bytes | None = None,
        base: bytes | None = None,
    ) -> tuple[str, Stamp]:
        name = os.path.basename(path)
        if self.busy[name] > 0:
            self.busy[name] -= 1
            raise Busy("somebody is writing it")
        if self.full:
            raise Refused("no space left on device", kind="io")
        if name in self.denied:
            raise Refused("permission denied", kind="install")
        if stamp_of(path) != stamp:
            raise Superseded("a newer link is there")
        below = None if base is None else base.hex()
        if (_line(path, "btf"), _line(path, "base")) == (btf.hex(), below):
            return "unchanged", stamp
        text = f"src {_line(path, 'src')}\nbtf {btf.hex()}\n"
        if below is not None:
            text += f"base {below}\n"
        return "written", _replace(path, text.encode())

    def write_detached(self, path: str, btf: bytes) -> None:
        _replace(path, btf)

    def read_section(self, path: str, name: str) -> bytes | None:
        return None

    def read_btf(self, path: str) -> bytes:
        if path.endswith(".btf"):  # a raw one
            return Path(path).read_bytes()
        found = _line(path, "btf")
        if found is None:
            raise Refused("no .BTF", kind="elf", path=path)
        return bytes.fromhex(found)

    def read_layers(self, path: str) -> tuple[bytes, bytes | None]:
        below = _line(path, "base")
        return self.read_btf(path), None if below is None else bytes.fromhex(below)

    def verify(
        self, btf: bytes, base: Base | None, distilled: bytes | None = None
    ) -> list[tuple[str, bool]]:
        return [("type 7: invalid name", True)] if btf.startswith(b"\xbd") else []

    def dump(self, btf: bytes, base: Base | None, form: str, distilled: bytes | None = None) -> str:
        below = (distilled or b"").decode()
        return f"{form} {btf.hex()} over {below}{base.digest[:6] if base else None}"

    def diff(self, old: Graph, new: Graph) -> list[dict[str, Any]]:
        if old[0] == new[0]:
            return []
        size = [len(old[0]), len(new[0])]
        return [
            {
                "kind": "struct",
                "name": "s",
                "change": "changed",
                "layer": "module",
                "shadows": False,
                "size": size,
                "text": [None, None],
                "details": [{"what": "size", "name": "", "old": size[0], "new": size[1]}],
            }
        ]

    def layout(self, graph: Graph, name: str) -> tuple[str, list[dict[str, Any]]] | None:
        return (f"struct {name} {{\n}};\n", []) if name == "s" else None

    def distill(self, base: Base, split: bytes) -> tuple[bytes, bytes]:
        return b"distilled", split

    def lines(
        self, path: str, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[Place, dict[str, Place]]]:
        return {thing: (("s.c", 1, 0), {}) for thing in wanted}


def _line(path: str, key: str) -> str | None:
    try:
        text = Path(path).read_bytes().decode()
    except OSError as e:
        raise Refused(e.strerror or "cannot be read", kind="io", path=path) from e
    for line in text.splitlines():
        if line.startswith(key + " "):
            return line[len(key) + 1 :]
    return None


def _replace(path: str, data: bytes) -> Stamp:
    sibling = path + ".new"
    with open(sibling, "wb") as f:
        f.write(data)
        f.flush()
        os.replace(sibling, path)
        s = os.fstat(f.fileno())
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def link(tree: Path, name: str, source: str) -> None:
    """What ld does: the old file goes, a new one without BTF comes."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f"src {source}\n")


def link_base(tree: Path, content: str, *, btf: bool = True) -> None:
    """What the link of vmlinux does; `content` is what its BTF says."""
    path = tree / "vmlinux"
    path.unlink(missing_ok=True)
    path.write_text(f"btf {content.encode().hex()}\n" if btf else f"src {content}\n")


def make_tree(root: Path, modules: int = 3) -> Path:
    """A small build tree."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "include/config").mkdir(parents=True)
    (root / "include/config/auto.conf").write_text(
        "CONFIG_DEBUG_INFO_BTF=y\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n"
    )
    link_base(root, "one")
    for n in range(modules):
        link(root, f"drivers/d{n}/m{n}.ko", f"module {n}")
    return root
