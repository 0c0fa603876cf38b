"""The drop-in in a small build tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.elf import Elf
from tests.support.run import must

#: Installed beside this interpreter, like `btfd`.
PROGRAM = Path(sys.executable).parent / "btfd-pahole"


@dataclass
class Tree:
    """A copy of the sample tree whose vmlinux has BTF and whose modules have none."""

    root: Path
    #: Stands for the real pahole: says what it was called with, and exits with 7.
    pahole: Path

    def run(
        self, flags: str, *words: str, socket: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs the drop-in in the tree. Without a socket, without a daemon."""
        place = {"BTFD_SOCKET": "none" if socket is None else str(socket)}
        there = {k: v for k, v in os.environ.items() if k not in ("RESOLVE_BTFIDS", "MAKELEVEL")}
        return subprocess.run(
            [PROGRAM, *flags.split(), *words],
            cwd=self.root,
            env={**there, "BTFD_REAL_PAHOLE": str(self.pahole), **place, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def kbuild(
        self, flags: str, module: str, socket: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As Linux 5.11 to 6.19 does it."""
        words = ("--btf_base", "vmlinux", module)
        return self.run(f"-J {flags}", *words, socket=socket, RESOLVE_BTFIDS="x", MAKELEVEL="1")

    def section(self, name: str, section: str) -> bytes | None:
        elf = Elf.read(self.root / name)
        found = [s for s in elf.sections if s.name == section]
        assert len(found) <= 1
        return bytes(elf.data[found[0].offset :][: found[0].size]) if found else None

    def btf(self, name: str) -> bytes | None:
        return self.section(name, ".BTF")

    def header_only(self) -> bytes:
        """Split BTF without a type."""
        return bytes.fromhex("9feb0100 18000000 00000000 00000000 00000000 00000000")

    def expected(self, module: str, flags: str = "") -> bytes:
        """What an encode without a daemon gives; the module stays as it is."""
        out = self.root / "expected.btf"
        words = ("--btf_base", "vmlinux", f"--btf_encode_detached={out}", module)
        done = self.run(f"-J {flags}", *words)
        assert done.returncode == 0, done.stderr
        return out.read_bytes()


@pytest.fixture
def tree(encoded_tree: Path, tmp_path: Path) -> Tree:
    root = tmp_path / "tree"
    shutil.copytree(encoded_tree, root)
    for module in root.rglob("*.ko"):
        must("objcopy", "--remove-section=.BTF", module)
    pahole = tmp_path / "real-pahole"
    pahole.write_text('#!/bin/sh\necho "pahole $*"\npwd\necho "$KEPT"\necho said >&2\nexit 7\n')
    pahole.chmod(0o755)
    return Tree(root, pahole)
