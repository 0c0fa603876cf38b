"""Says whether the kernel would accept the BTF of a file over this very base; if not, why.

The kernel itself does not check that a module's BTF belongs to its vmlinux; this does more than it.
A module that brings a distilled base (.BTF.base) is put onto the base first, as the kernel does it.
"""

import argparse

from btfd.cli import common
from btfd.cli.output import Output
from btfd.engine import Core, native


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    common.add_base(parser)


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    core = core or native()
    base_path = args.base or common.find_base(args.file, out)
    btf, distilled = core.read_layers(args.file)
    base = core.load_base(base_path) if base_path else None
    objections = core.verify(btf, base, distilled)
    out.object(
        {
            "path": args.file,
            "base": base_path,
            "accepted": not objections,
            "objections": [{"what": what, "refused": refused} for what, refused in objections],
        }
    )
    if not objections:
        out.line(f"{args.file}: {out.paint('accepted', 'green')}")
        return 0
    for what, refused in objections:
        out.failure(args.file, what if refused else f"the kernel takes it, but: {what}")
    return 1
