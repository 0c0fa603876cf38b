"""What `dump --format c` prints of real results is C that a compiler takes.

The compiler is a judge of the types that shares nothing with us: a struct that lost a member or
came to contain itself does not compile, and sizes are asserted in the code.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from btfd import _core
from tests.kernel.conftest import Results
from tests.support import btf

#: How many modules, spread over all.
SPREAD = 30


def compile_header(text: str, tmp_path: Path, sizes: dict[str, int]) -> None:
    """Compiles it, with an assertion for the size of each of these structs."""
    asserts = "".join(
        f'_Static_assert(sizeof({name}) == {size}, "{name}");\n' for name, size in sizes.items()
    )
    source = tmp_path / "header.c"
    source.write_text(text + asserts)
    command = ["gcc", "-fsyntax-only", "-Wno-attributes", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:2000]


def sizes(layer: btf.Btf, text: str) -> dict[str, int]:
    """Structs and unions with a name of their own in the header, and their sizes."""
    found: dict[str, int] = {}
    twice = set()
    for ty in layer.types:
        if ty.kind not in ("STRUCT", "UNION") or not ty.name:
            continue
        name, size = f"{ty.kind.lower()} {ty.name}", ty.own[0]
        assert isinstance(size, int)
        if name in found:
            twice.add(name)
        found[name] = size
    defined = set(re.findall(r"^((?:struct|union) \w+) \{", text, re.MULTILINE))
    return {n: s for n, s in found.items() if n not in twice and n in defined}


def test_vmlinux(results: Results, tmp_path: Path) -> None:
    text = _core.dump(results.raw_base.read_bytes(), None, "c")
    known = sizes(results.base, text)
    assert len(known) > 1000
    compile_header(text, tmp_path, known)


def test_modules(results: Results, tmp_path: Path) -> None:
    base = _core.Base.load(results.raw_base)
    modules = results.tree.modules()
    for name in modules[:: max(1, len(modules) // SPREAD)]:
        text = _core.dump(results.path(name).read_bytes(), base, "c")
        known = sizes(results.load(name), text)
        try:
            compile_header(text, tmp_path, known)
        except AssertionError as error:
            pytest.fail(f"{name}: {error}")
