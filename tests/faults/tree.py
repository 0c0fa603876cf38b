"""A build tree of real modules, small enough to be linked thousands of times."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from btfd.encode import Request
from btfd.engine import Core, native
from btfd.errors import Busy, Problem, Refused
from btfd.store import Store
from btfd.tree import BuildTree
from tests.support.elf import Elf
from tests.support.run import must

#: How many contents a module, and a vmlinux, can have.
MODULES, BASES = 12, 3

COMMON = """
struct device { const char *name; struct device *parent; unsigned long flags; };
struct file { struct device *device; long position; int (*read)(struct file *, char *, long); };
"""
BASE = (
    COMMON
    + """
struct base_%(n)d { struct file file; long words[%(n)d + 1]; };
struct base_%(n)d base_variable;
int vfs_read(struct file *file, char *to, long size) { return file->read(file, to, size); }
void _start(void) { vfs_read(&base_variable.file, 0, 0); }
"""
)
MODULE = (
    COMMON
    + """
struct edited_%(n)d { struct file file; struct device *devices[%(n)d + 1]; char tail[%(n)d + 1]; };
struct edited_%(n)d state;
int probe_%(n)d(struct device *device, struct edited_%(n)d *edited)
{ edited->devices[0] = device; return edited->tail[0]; }
"""
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What trees are made from: every module and every vmlinux as the linker leaves it."""

    modules: tuple[bytes, ...]
    bases: tuple[bytes, ...]


def make_parts(folder: Path) -> Parts:
    """Compiles them; about 2 s of CPU."""

    def module(n: int) -> bytes:
        source, built = folder / f"m{n}.c", folder / f"m{n}.ko"
        source.write_text(MODULE % {"n": n})
        must("gcc", "-g", "-O2", "-ffreestanding", "-c", "-o", built.with_suffix(".o"), source)
        must("ld", "-r", "--build-id=sha1", "-o", built, built.with_suffix(".o"))
        return built.read_bytes()

    def base(n: int) -> bytes:
        source, built = folder / f"base{n}.c", folder / f"base{n}"
        source.write_text(BASE % {"n": n})
        flags = ("-g", "-O2", "-ffreestanding", "-nostdlib", "-static", "-no-pie")
        must("gcc", *flags, "-o", built, source)
        core = native()
        made = core.encode(
            str(built), None, ("var", "float"), lang_exclude=(), threads=1, full=False,
            resolve=False, earlier=None,
        )  # fmt: skip
        core.install(str(built), made.btf, made.stamp)
        return built.read_bytes()

    with ThreadPoolExecutor(2) as pool:
        modules, bases = pool.map(module, range(MODULES)), pool.map(base, range(BASES))
        return Parts(tuple(modules), tuple(bases))


class Tree:
    """One build tree on disk."""

    def __init__(self, root: Path, parts: Parts) -> None:
        self.root, self.parts = root, parts
        self._core: Core = native()

    def build(self, modules: int = 12, folders: int = 4) -> Tree:
        """Everything from nothing."""
        config = self.root / "include/config"
        config.mkdir(parents=True)
        (config / "auto.conf").write_text("CONFIG_MODULES=y\nCONFIG_PAHOLE_VERSION=131\n")
        self.link_base(0)
        for n in range(modules):
            self.link(f"drivers/d{n % folders}/m{n}.ko", n)
        return self

    def link(self, module: str, variant: int) -> Path:
        """What ld does: the old file goes, a new one is written under the name."""
        path = self.root / module
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, self.parts.modules[variant % MODULES])
        return path

    def link_base(self, variant: int) -> None:
        write_new(self.root / "vmlinux", self.parts.bases[variant % BASES])

    def paths(self) -> list[Path]:
        """Every module, found by a walk."""
        found = []
        for folder, _, files in os.walk(os.fsencode(self.root)):
            found += [Path(os.fsdecode(os.path.join(folder, f))) for f in files if f[-3:] == b".ko"]
        return sorted(found)

    def wrong(self, among: Iterable[Path] | None = None) -> dict[Path, str]:
        """Modules whose BTF is not what a fresh encode gives, with the reason."""
        try:
            tree = BuildTree(str(self.root), self._core, Store(None))
            news = tree.look_at_base()
            request = tree.request()
        except (Problem, OSError) as e:
            return {self.root / "vmlinux": str(e)}
        del news
        found = {}
        for path in self.paths() if among is None else among:
            why = self._why(path, request)
            if why is not None:
                found[path] = why
        return found

    def _why(self, path: Path, request: Request) -> str | None:
        assert request.base is not None
        try:
            made = self._core.encode(
                str(path), request.base.base, request.options.features,
                lang_exclude=request.options.lang_exclude, threads=1, full=False,
                resolve=False, earlier=None,
            )  # fmt: skip
            return None if self._core.read_btf(str(path)) == made.btf else "another BTF"
        except (Busy, Refused) as e:
            return e.cause

    def damaged(self, path: Path) -> str | None:
        """Why the file is neither a link of ours nor one with BTF added; None where it is."""
        data = path.read_bytes()
        if data in self.parts.modules:
            return None
        now = _contents(data)
        now.pop(".BTF", None)
        for link in self.parts.modules:
            before = _contents(link)
            if all(now.get(name) == contents for name, contents in before.items()):
                return None
        return f"{len(data)} bytes that no link has"


def _contents(data: bytes) -> dict[str, bytes]:
    elf = Elf(data)
    names = [s.name for s in elf.sections if s.name and s.name != ".shstrtab"]
    return {name: elf.contents(name) or b"" for name in names}


def write_new(path: Path, data: bytes) -> None:
    """A new file under the name, written in two steps."""
    path.unlink(missing_ok=True)
    with open(path, "xb") as f:
        f.write(data[: len(data) // 2])
        f.flush()
        f.write(data[len(data) // 2 :])
