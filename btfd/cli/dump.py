"""Prints the BTF of a file as text: raw as `bpftool btf dump` does, as a C header, or as JSON.

FILE is a module, a vmlinux or raw BTF. Split BTF needs its base; a module in a build tree finds it.
One that brings a distilled base (.BTF.base) is shown over that; with --base, relocated onto it.
"""

import argparse

from btfd.cli import common
from btfd.cli.output import Output
from btfd.engine import Core, native


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    common.add_base(parser)
    parser.add_argument(
        "--format",
        choices=("raw", "c", "json"),
        default=None,
        help="raw (default), c, or json, which is also what --json means",
    )


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    core = core or native()
    form = args.format or ("json" if out.json else "raw")
    base_path = args.base
    btf, distilled = core.read_layers(args.file)
    if base_path is None and distilled is None:
        base_path = common.find_base(args.file, out)
    base = core.load_base(base_path) if base_path else None
    text = core.dump(btf, base, form, distilled)
    out.text(text if text.endswith("\n") else text + "\n")
    return 0
