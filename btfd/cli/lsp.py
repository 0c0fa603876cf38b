"""A language server, for editors: speaks the Language Server Protocol on stdin and stdout.

Hover over a struct or a member (its size, offset, holes and cache line as last built), inlay hints
with the offsets of members, a code lens with the size of each module's BTF, and a warning at each
struct whose layout the running kernel has otherwise, for modules that it has loaded; with
--baseline, the modules in FILE are held against instead of the running kernel.

Files are those of the build trees in the configuration, of those that were added to the service,
and of any tree that holds them. With --build a save runs what `btfd on-save --build` runs.

It needs pygls, which is not installed along: `pip install 'pygls>=2,<3'`.
"""

import argparse
import importlib.util
import sys

from btfd import config, kbuild
from btfd.built import Built
from btfd.cli import common
from btfd.cli.output import Output
from btfd.engine import Core, native
from btfd.errors import Problem, UsageProblem
from btfd.kbuild import EncoderOptions

#: For the Python that runs us: the extra `lsp`, by its content.
INSTALL = "pip install 'pygls>=2,<3'"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--baseline", metavar="FILE", help="of `btfd diff --save`")
    parser.add_argument("--build", action="store_true", help="build what was saved")
    # Editors' clients say this by themselves; there is no other way here.
    parser.add_argument("--stdio", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    if importlib.util.find_spec("pygls") is None:
        raise Problem("the language server needs pygls", hint=f"{sys.executable} -m {INSTALL}")
    if out.json:
        raise UsageProblem("lsp speaks its own protocol", hint="leave --json out")
    settings = config.load({})
    if args.build and not settings.build:
        raise UsageProblem("no build command is configured", hint="build: make -C {tree} {modules}")

    def options(kernel: str) -> EncoderOptions:
        tree = kernel if kbuild.is_tree(kernel) else None
        return common.options_for(tree, settings, out)

    built = Built(core or native(), common.trees(settings), options, guard=args.baseline)
    from btfd.lsp import server

    server.make(built, build=args.build).start_io()
    return 0
