"""Prints a struct or union as it lies in memory: offsets, sizes, holes, cache lines, a summary.

STRUCT is a name (of a typedef too), or `struct NAME`, `union NAME` where both exist. It is looked
for in the module given with --module and in its base; without a module in --base, in the vmlinux
of the build tree around the current directory, else in the running kernel.

--diff OTHER shows what is different in another module, vmlinux or build tree: lines of OTHER that
are not here with `-`, and the other way round with `+`.

--json prints one object: name, path, rows in order. A row is a member (name, type, offset, bits,
bitfield), a hole (hole and offset in bits), the start of a nameless part (open) or its end (close,
offset, bits), or a new cache line (line).
"""

import argparse
import difflib
import os
from typing import Any

from btfd import kbuild
from btfd.cli import common
from btfd.cli.output import Output
from btfd.engine import Core, Graph, native
from btfd.errors import Problem

RUNNING = "/sys/kernel/btf/vmlinux"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("struct", metavar="STRUCT")
    parser.add_argument("-m", "--module", metavar="FILE", help="the module that has it")
    common.add_base(parser)
    parser.add_argument("--diff", metavar="OTHER", help="a module, vmlinux or build tree")


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    core = core or native()
    where = args.module or args.base or _around()
    text, rows = _laid_out(core, args.struct, where, _graph(core, args.module, args.base, out))
    other: tuple[str, list[dict[str, Any]]] | None = None
    if args.diff is not None:
        if args.diff.endswith(".ko"):
            # In a tree of its own it stands on the vmlinux there.
            base = None if kbuild.find_tree(args.diff) else args.base
            graph = _graph(core, args.diff, base, out)
        else:
            graph = _graph(core, None, args.diff, out)
        other = _laid_out(core, args.struct, args.diff, graph)
    value: dict[str, Any] = {"name": args.struct, "path": where, "rows": rows}
    if other is not None:
        value["other"] = {"path": args.diff, "rows": other[1]}
    out.object(value)
    if out.json:
        return 0
    if other is None:
        out.text(text)
        return 0
    before, after = other[0].splitlines(), text.splitlines()
    if before == after:
        out.line(f"the same in {args.diff} and {where}")
        return 0
    changes = difflib.unified_diff(
        before, after, args.diff, where, n=max(len(before), len(after)), lineterm=""
    )
    for line in changes:
        colour = {"+": "green", "-": "red", "@": "dim"}.get(line[0]) if line else None
        out.line(out.paint(line, colour) if colour else line)
    return 0


def _around() -> str:
    """The vmlinux of the tree that we are in, else that of the running kernel."""
    tree = kbuild.find_tree(os.path.join(os.getcwd(), "x"))
    return os.path.join(tree, kbuild.BASE) if tree else RUNNING


def _file(path: str) -> str:
    return os.path.join(path, kbuild.BASE) if os.path.isdir(path) else path


def _graph(core: Core, module: str | None, base: str | None, out: Output) -> Graph:
    if module is None:
        return (core.read_btf(_file(base or _around())), None, None)
    btf, distilled = core.read_layers(module)
    if distilled is None:
        found = base or common.find_base(module, out)
        # Nothing is deduplicated against it: its bytes are enough.
        distilled = core.read_btf(found) if found else None
    return (btf, None, distilled)


def _laid_out(core: Core, name: str, where: str, graph: Graph) -> tuple[str, list[dict[str, Any]]]:
    found = core.layout(graph, name)
    if found is None:
        raise Problem(
            f"no struct or union {name}",
            hint="give the module that has it with --module",
            path=where,
        )
    return found
