"""Calling whichever pahole there is, and telling whether its sizes can be compared."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.measure import CannotMeasure, Series, process
from tests.support.btf import Btf, load
from tests.support.run import KBUILD_FEATURES


@dataclass(frozen=True, slots=True)
class Pahole:
    """One pahole and what it understands."""

    program: str
    version: str
    flags: tuple[str, ...]
    detached: bool

    @classmethod
    def find(cls) -> Pahole:
        """The one that $PAHOLE names, or the first in PATH."""
        named = os.environ.get("PAHOLE", "pahole")
        program = shutil.which(named)
        if program is None:
            raise CannotMeasure(f"no {named} here; PAHOLE=... names another")
        version = _output(program, "--version").strip()
        options = _output(program, "--help")
        flags = ["-J", "--lang_exclude=rust"]
        if "--btf_features=" in options:
            flags.append(f"--btf_features={KBUILD_FEATURES}")
        else:
            flags.append("--btf_gen_floats")
        return cls(program, version, tuple(flags), "--btf_encode_detached" in options)

    @property
    def current(self) -> bool:
        """Whether it chooses functions as the pahole does that the encoder follows."""
        return self.version.removeprefix("v").split(".") >= ["1", "31"]

    @property
    def how(self) -> str:
        return " ".join(["pahole", *self.flags]) + (
            " --btf_encode_detached" if self.detached else " (in place, on a copy)"
        )

    def run(self, vmlinux: Path, module: Path, work: Path, series: Series | None = None) -> Path:
        """Encodes; returns the file that has the BTF."""
        command = [self.program, *self.flags, "--btf_base", str(vmlinux)]
        if self.detached:
            result, source = work / "pahole.btf", module
            result.unlink(missing_ok=True)
            command.append(f"--btf_encode_detached={result}")
        else:
            result = source = work / "pahole.ko"
            shutil.copyfile(module, source)
        process([*command, str(source)], series)
        if not result.exists():
            raise CannotMeasure(f"{self.program} wrote nothing for {module}")
        return result


def _output(program: str, option: str) -> str:
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    return done.stdout


def typedefs_again(btf: Btf, base: Btf) -> tuple[int, int]:
    """(typedefs of the split BTF whose name the base has too, all its typedefs)."""
    known = {one.name for one in base.types if one.kind == "TYPEDEF"}
    mine = [one.name for one in btf.types if one.kind == "TYPEDEF"]
    return sum(name in known for name in mine), len(mine)


def why_not_comparable(result: Path, base: Btf) -> str | None:
    """libbpf 1.7 and early 1.8 find no typedef of the base and write it all again."""
    again, total = typedefs_again(load(result, base), base)
    if again > 10 and again * 2 > total:
        return (
            f"its libbpf finds no typedef of the base ({again} of {total} typedefs that it wrote "
            f"are in the base too): sizes are not compared, and times compare with more work"
        )
    return None
