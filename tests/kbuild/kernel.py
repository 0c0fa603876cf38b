"""One build tree: its makes, and what they leave in vmlinux and the modules."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.elf import SHT_NOBITS, Elf

PROGRAM = Path(sys.executable).parent / "btfd-pahole"
STEP = re.compile(r"^ {2}(CC|AS|LD|BTF|BTFIDS) +(\[M\])? +(\S+)$", re.MULTILINE)
WHO = re.compile(r"^btfd-pahole: \S+: \d+ bytes, (the daemon|in-process),", re.MULTILINE)


@dataclass(slots=True)
class Log:
    """What one make said, and how long it took."""

    status: int
    text: str
    wall: float
    cpu: float
    #: (tool, name) of what was made for modules.
    modules: list[tuple[str, str]] = field(default_factory=list)

    def done(self, tool: str) -> set[str]:
        """The modules that a tool made or changed."""
        return {name for what, name in self.modules if what == tool}

    def encoded_by(self, who: str) -> int:
        return sum(found == who for found in WHO.findall(self.text))

    def remarks(self) -> list[str]:
        """What the drop-in or resolve_btfids had to say."""
        lines = self.text.splitlines()
        said = [line for line in lines if line.startswith(("btfd-pahole:", "WARN", "FAILED"))]
        return [line for line in said if not WHO.match(line) and "not by the daemon" not in line]


@dataclass(frozen=True, slots=True)
class Result:
    """Of one file: the parts that the kernel reads."""

    types: bytes
    strings: bytes
    #: Type, flags and alignment of the section.
    section: tuple[int, int, int]
    ids: bytes | None
    #: The content of .BTF.base, which modules out of the tree may bring.
    base: bytes | None = None


class Kernel:
    """A build tree (the O= directory)."""

    def __init__(self, tree: Path, jobs: int) -> None:
        self.tree = tree
        self.jobs = jobs

    def modules(self) -> list[str]:
        """Relative to the tree."""
        lines = (self.tree / "modules.order").read_text().split()
        return sorted({line.removesuffix(".o").removesuffix(".ko") + ".ko" for line in lines})

    def release(self) -> str:
        return (self.tree / "include/config/kernel.release").read_text().strip()

    @property
    def relinks(self) -> bool:
        """Since 6.13, modules are linked again when vmlinux is newer."""
        major, minor = map(int, self.release().split(".")[:2])
        return (major, minor) >= (6, 13)

    def make(
        self,
        *targets: str,
        pahole: Path | str = PROGRAM,
        env: Mapping[str, str] | None = None,
        watch: Callable[[str], None] = lambda line: None,
        tree: Path | None = None,
    ) -> Log:
        """Runs make; `watch` sees each line as it comes."""
        command = ["make", "-C", str(tree or self.tree), f"-j{self.jobs}", "ARCH=x86_64"]
        # The number of the build is part of a string in vmlinux, and of that array's type.
        command += [f"PAHOLE={pahole}", "KBUILD_BUILD_VERSION=1", *(targets or DEFAULT)]
        place = {"BTFD_SOCKET": "none", "BTFD_VERBOSE": "1", "BTFD_REAL_PAHOLE": "/bin/false"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        with subprocess.Popen(
            command,
            env={**os.environ, "LC_ALL": "C", **place, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="surrogateescape",
        ) as running:
            assert running.stdout is not None
            lines = []
            for line in running.stdout:
                lines.append(line)
                watch(line)
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        text = "".join(lines)
        steps = [(tool, name) for tool, _, name in STEP.findall(text) if name.endswith(".ko")]
        return Log(running.returncode, text, wall, cpu, steps)

    def snapshot(self) -> dict[str, Result]:
        """What is in vmlinux and in every module now."""
        return {name: read(self.tree / name) for name in ["vmlinux", *self.modules()]}

    def leftovers(self, tree: Path | None = None) -> list[str]:
        """Temporary files of ours, or of a step that did not end."""
        root = tree or self.tree
        found = []
        for folder, _, files in os.walk(root):
            found += [
                os.path.join(folder, name)
                for name in files
                if name.startswith(".btfd-") or re.search(r"\.ko\.(btf|BTF.*)$", name)
            ]
        return found

    def remove(self, *names: str) -> None:
        for name in names:
            (self.tree / name).unlink()


DEFAULT = ("vmlinux", "modules")


def read(path: Path) -> Result:
    """The BTF of one file; there must be exactly one section of each name."""
    elf = Elf.read(path)

    def content(name: str) -> tuple[bytes, tuple[int, int, int]] | None:
        found = [s for s in elf.sections if s.name == name]
        assert len(found) <= 1, f"{path}: {len(found)} sections {name}"
        if not found or found[0].type == SHT_NOBITS:
            return None
        s = found[0]
        return bytes(elf.data[s.offset : s.offset + s.size]), (s.type, s.flags, s.align)

    btf = content(".BTF")
    assert btf is not None, f"{path}: no .BTF"
    raw, section = btf
    types, strings = parts(raw)
    ids, base = (found and found[0] for found in (content(".BTF_ids"), content(".BTF.base")))
    return Result(types, strings, section, ids, base)


def parts(raw: bytes) -> tuple[bytes, bytes]:
    """The type section and the string section."""
    number = [int.from_bytes(raw[at : at + 4], "little") for at in range(4, 24, 4)]
    header, type_at, type_size, string_at, string_size = number
    first, second = header + type_at, header + string_at
    return raw[first : first + type_size], raw[second : second + string_size]


def difference(a: Mapping[str, Result], b: Mapping[str, Result]) -> list[str]:
    """Names of files that differ, and in what."""
    found = [f"{name}: only in one" for name in sorted(set(a) ^ set(b))]
    for name in sorted(set(a) & set(b)):
        x, y = a[name], b[name]
        for what in ("types", "strings", "section", "ids", "base"):
            if getattr(x, what) != getattr(y, what):
                found.append(f"{name}: {what}")
    return found


@contextmanager
def daemon(folder: Path) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """`btfd run` on a socket of its own: the environment for its clients, and the process."""
    folder.mkdir(mode=0o700)
    env = {
        "BTFD_SOCKET": str(folder / "socket"),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "XDG_STATE_HOME": str(folder),
    }
    command = [sys.executable, "-m", "btfd", "run"]
    with subprocess.Popen(command, env={**os.environ, **env}, cwd=folder) as process:
        try:
            until = time.monotonic() + 30
            while not (folder / "socket").exists():
                assert process.poll() is None, "the daemon has ended"
                assert time.monotonic() < until, "the daemon makes no socket"
                time.sleep(0.05)
            yield env, process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
