"""Compilers for several architectures, and what is built with them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.run import Argument, must

SOURCES = Path(__file__).parent / "src"
FLAGS = (
    *("-std=gnu11", "-O2", "-g", "-ffreestanding", "-nostdinc", "-fno-pic", "-fno-pie", "-w"),
    *("-fno-stack-protector", "-fno-strict-aliasing", "-fno-asynchronous-unwind-tables"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: what its tools are called, and what assembler sources have to know."""

    name: str
    triple: str
    big_endian: bool = False
    address: int = 8


MACHINES = (
    Machine("x86_64", "x86_64-linux-gnu"),
    Machine("arm64", "aarch64-linux-gnu"),
    Machine("riscv64", "riscv64-linux-gnu"),
    Machine("s390x", "s390x-linux-gnu", big_endian=True),
    Machine("ppc64", "powerpc64-linux-gnu", big_endian=True),
    Machine("ppc64le", "powerpc64le-linux-gnu"),
    Machine("armhf", "arm-linux-gnueabihf", address=4),
    Machine("i386", "i686-linux-gnu", address=4),
)
X86_64 = MACHINES[0]
#: One for each byte order and size of an address.
SHAPES = tuple(m for m in MACHINES if m.name in ("x86_64", "s390x", "armhf"))
#: Those that only clang is asked for.
MORE = (
    Machine("mips", "mips-linux-gnu", big_endian=True, address=4),
    Machine("mips64el", "mips64el-linux-gnuabi64"),
    Machine("loongarch64", "loongarch64-linux-gnu"),
    Machine("sparc64", "sparc64-linux-gnu", big_endian=True),
    Machine("ppc", "powerpc-linux-gnu", big_endian=True, address=4),
    Machine("riscv32", "riscv32-linux-gnu", address=4),
    Machine("armeb", "armeb-linux-gnueabi", big_endian=True, address=4),
    Machine("arm64be", "aarch64_be-linux-gnu", big_endian=True),
)


def tool(*names: str) -> str:
    """The first of them that is installed; the test is skipped where none is."""
    for name in names:
        if shutil.which(name):
            return name
    pytest.skip(f"no {names[0]} here")


@dataclass(frozen=True, slots=True)
class Compiler:
    """One compiler for one machine."""

    family: str
    machine: Machine

    def __str__(self) -> str:
        return f"{self.family}-{self.machine.name}"

    @property
    def is_gcc(self) -> bool:
        return self.family == "gcc"

    def command(self) -> tuple[str, ...]:
        triple = self.machine.triple
        if not self.is_gcc:
            return tool(self.family), f"--target={triple}"
        native = ("gcc",) if self.machine is X86_64 else ()
        return (tool(f"{triple}-gcc", *native),)

    def linker(self) -> str:
        # lld links s390x since 18 only
        if not self.is_gcc and self.machine.name != "s390x":
            return tool(self.family.replace("clang", "ld.lld"), "ld.lld")
        return tool(f"{self.machine.triple}-ld", *(("ld",) if self.machine is X86_64 else ()))

    def compile(self, source: Path, out: Path, *flags: str) -> Path:
        must(*self.command(), *FLAGS, f"-I{SOURCES}", *flags, "-c", "-o", out, source)
        return out

    def assemble(self, source: Path, out: Path, **symbols: int) -> Path:
        """Assembles a source that includes dwarf.inc."""
        symbols |= {"BIG": int(self.machine.big_endian), "ADDRESS": self.machine.address}
        defines = [f"-Wa,-defsym,{name}={value}" for name, value in symbols.items()]
        must(*self.command(), f"-Wa,-I,{SOURCES}", *defines, "-c", "-o", out, source)
        return out

    def link_module(self, out: Path, *objects: Path) -> Path:
        must(self.linker(), "-r", "-o", out, *objects)
        return out

    def link_executable(self, out: Path, *objects: Path) -> Path:
        options: tuple[Argument, ...] = ("-e", "many", "--unresolved-symbols=ignore-all")
        must(self.linker(), *options, "-o", out, *objects)
        return out


@cache
def clangs() -> tuple[str, ...]:
    """Every clang that is here by a name of its own, or plain `clang`."""
    found = tuple(f"clang-{n}" for n in range(14, 30) if shutil.which(f"clang-{n}"))
    return found or ("clang",)


def compilers() -> list[Compiler]:
    """One for each test parameter, installed or not."""
    return [Compiler(family, machine) for machine in MACHINES for family in ("gcc", *clangs())]


class Workshop:
    """Builds things once, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, compiler: Compiler, *parts: str) -> Path:
        flags = "".join(part.replace("/", "_") for part in parts)
        path = self.directory / str(compiler) / flags
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def object(self, compiler: Compiler, source: str, *flags: str) -> Path:
        """An object of a C or assembler source."""
        path = self._path(compiler, source, *flags, ".o")
        return path if path.exists() else compiler.compile(SOURCES / source, path, *flags)

    def objects(self, compiler: Compiler, *flags: str) -> list[Path]:
        """One object of each source that any module may have."""
        sources = ["types.c", "functions.c", "functions_b.c", "data.c"]
        if not compiler.is_gcc:
            sources.append("tags.c")
        return [self.object(compiler, source, *flags) for source in sources]

    def module(self, compiler: Compiler, *flags: str) -> Path:
        """All of them in one relocatable object."""
        path = self._path(compiler, "all", *flags, ".ko")
        if path.exists():
            return path
        return compiler.link_module(path, *self.objects(compiler, *flags))

    def executable(self, compiler: Compiler, *flags: str) -> Path:
        """All of them, linked."""
        path = self._path(compiler, "all", *flags)
        if path.exists():
            return path
        return compiler.link_executable(path, *self.objects(compiler, *flags))

    def assembled(self, compiler: Compiler, source: str, **symbols: int) -> Path:
        """An object with DWARF written by hand."""
        parts = [f"{name}{value}" for name, value in symbols.items()]
        path = self._path(compiler, source, *parts, ".o")
        if path.exists():
            return path
        return compiler.assemble(SOURCES / source, path, **symbols)
