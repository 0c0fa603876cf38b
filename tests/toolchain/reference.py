"""Our encoder and pahole, side by side."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from btfd import _core
from tests.support import btf
from tests.support.btf import Btf
from tests.support.run import KBUILD_FEATURES, run

#: What pahole 1.24 has no other rules for, or none at all.
NEWER = frozenset({"var", "global_var"})


@dataclass(frozen=True, slots=True)
class Ours:
    """What our encoder made of a file."""

    raw: bytes
    warnings: list[str]

    def types(self, base: Btf | None = None) -> Btf:
        return Btf(self.raw, base)


def encode(
    path: Path,
    features: str = KBUILD_FEATURES,
    *,
    base: bytes | None = None,
    lang_exclude: str = "rust",
    threads: int = 1,
) -> Ours:
    """Our encoder's result; CoreError where there is none."""
    loaded = _core.Base.from_bytes(base) if base else None
    names = [name for name in features.split(",") if name]
    languages = [name for name in lang_exclude.split(",") if name]
    done = _core.encode(path, loaded, names, lang_exclude=languages, threads=threads)
    return Ours(done.btf, done.warnings)


@dataclass(frozen=True, slots=True)
class Pahole:
    """A pahole on this machine."""

    command: str
    version: int

    @property
    def is_reference(self) -> bool:
        """Its results are to be met byte by byte."""
        return self.version >= 131

    def encode(
        self, path: Path, out: Path, features: str, base: Path | None, lang_exclude: str
    ) -> bytes | None:
        """Its result, None where it makes none."""
        out.unlink(missing_ok=True)
        flags = ["-J", f"--btf_encode_detached={out}"]
        if self.is_reference:
            flags.append(f"--btf_features={features}")
        else:
            names = features.split(",")
            flags += ["--btf_gen_floats"] if "float" in names else []
            flags += ["--skip_encoding_btf_vars"]
            for name in ("decl_tag", "type_tag", "enum64"):
                flags += [] if name in names else [f"--skip_encoding_btf_{name}"]
        if lang_exclude:
            flags.append(f"--lang_exclude={lang_exclude}")
        if base:
            flags += ["--btf_base", str(base)]
        run(self.command, *flags, path)
        return out.read_bytes() if out.exists() else None


@cache
def pahole() -> Pahole | None:
    """The newest pahole that is known of."""
    found = []
    for command in (os.environ.get("BTFD_PAHOLE_131"), "pahole"):
        try:
            told = run(command, "--version").stdout if command else ""
        except OSError:
            continue
        if command and (match := re.fullmatch(r"v(\d+)\.(\d+)\s*", told)):
            found.append(Pahole(command, int(match[1]) * 100 + int(match[2])))
    return max(found, key=lambda one: one.version, default=None)


def assert_same(
    path: Path,
    scratch: Path,
    features: str = KBUILD_FEATURES,
    *,
    base: bytes | None = None,
    lang_exclude: str = "rust",
) -> Ours:
    """Encodes a file and compares with what pahole makes of it; gives our result back."""
    judge = pahole()
    if judge is None:
        pytest.skip("no pahole here")
    if not judge.is_reference:
        features = ",".join(name for name in features.split(",") if name not in NEWER)
    base_path = scratch / "base.btf" if base else None
    if base and base_path:
        base_path.write_bytes(base)
    ours = encode(path, features, base=base, lang_exclude=lang_exclude)
    theirs = judge.encode(path, scratch / "pahole.btf", features, base_path, lang_exclude)
    assert theirs is not None, f"pahole {judge.version} makes nothing of {path}"
    below = Btf(base) if base else None
    mine, other = ours.types(below), Btf(theirs, below)
    verdict = btf.compare(mine, other, functions=judge.is_reference)
    assert verdict.same, "\n".join(verdict.lines)
    if judge.is_reference:
        assert verdict.bytes_equal, f"{path}: the same types, but not byte by byte"
    return ours
