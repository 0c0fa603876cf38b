"""`btfd layout` against pahole, on structs of a real kernel."""

from __future__ import annotations

import re

import pytest

from btfd.engine import native
from tests.kernel.tree import KernelTree
from tests.support.run import must, pahole_version

_KEPT = re.compile(r"/\* (XXX \d+ (bit|byte)s? hole|size:|sum members|padding:|last cacheline)")
#: Shares of structs that come out with the very same lines, and with the same size and members.
#: What is left is pahole's: `const` before instead of behind a star, pointers to arrays shown as
#: pointers, cache lines told again in the branches of a union.
SAME, SAME_SIZE = 0.98, 1.0


def _lines(body: str, union: bool) -> list[str]:
    """Members, holes and sums, spaces and attributes left out."""
    found = []
    for line in map(str.strip, body.splitlines()):
        summed = union and re.match(r"/\* (size|last|padding)", line)
        if not line or summed or (line.startswith("/*") and not _KEPT.match(line)):
            continue
        line = re.sub(r"\s*__attribute__\(\(.*?\)\)+", "", line)
        line = re.sub(r"\s*\*\s*", "*", line)
        line = re.sub(r"\s+", " ", line)
        found.append(re.sub(r"\s*([:;(),])\s*", r"\1", line))
    return found


@pytest.mark.skipif(pahole_version() is None, reason="no pahole")
def test_structs_as_pahole_prints_them(kernel_tree: KernelTree) -> None:
    vmlinux = str(kernel_tree.vmlinux)
    core = native()
    graph = (core.read_btf(vmlinux), None, None)
    told = must("pahole", "-F", "btf", vmlinux).stdout
    bodies: dict[tuple[str, str], list[str]] = {}
    for kind, name, body in re.findall(
        r"^(struct|union) (\w+) \{\n(.*?)^\}[^\n]*;$", told, re.DOTALL | re.MULTILINE
    ):
        bodies.setdefault((kind, name), []).append(body)
    compared = same = same_size = 0
    # Each look-up parses all of vmlinux; a tenth of them takes seconds.
    for (kind, name), found in sorted(bodies.items())[::10]:
        if len(found) > 1:
            continue
        laid_out = core.layout(graph, f"{kind} {name}")
        assert laid_out is not None, name
        ours = _lines("\n".join(laid_out[0].splitlines()[1:-1]), kind == "union")
        theirs = _lines(found[0], kind == "union")
        compared += 1
        same += ours == theirs
        sizes = [[x for x in side if x.startswith("/*size:")] for side in (ours, theirs)]
        same_size += sizes[0] == sizes[1][-len(sizes[0]) :] if sizes[0] else 1
    assert compared > 500
    assert same >= SAME * compared, (same, compared)
    assert same_size >= SAME_SIZE * compared, (same_size, compared)
