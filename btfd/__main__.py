"""Entry point: picks the verb, turns a `Problem` into one line and an exit status.

Contract: status 0 done, 1 failed, 2 usage, 130 interrupted. Nothing but data goes to stdout.
Cost: a verb imports what it needs itself, so that --help takes 50 ms.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from btfd import __version__
from btfd.cli.output import Output
from btfd.engine import Core
from btfd.errors import Problem, from_os

_EPILOG = """\
exit status:
  0  done
  1  failed: at least one file could not be served; the reason is on stderr
  2  usage: the command line or the configuration is wrong
"""


#: Each is a module of `btfd.cli`.
VERBS = (
    "run",
    "watch",
    "encode",
    "diff",
    "layout",
    "dump",
    "verify",
    "check",
    "stats",
    "status",
    "modules",
    "why",
    "wait",
    "events",
    "top",
    "on-save",
    "lsp",
    "add",
    "remove",
    "reload",
    "stop",
    "config",
    "doctor",
    "completion",
    "man",
)


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The command line: the whole, or what matters when `verb` is known to be the verb."""
    top = argparse.ArgumentParser(
        prog="btfd",
        description="BTF for Linux kernel modules, live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"btfd {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in [verb] if verb in VERBS else VERBS:
        module = import_module(f"btfd.cli.{name.replace('-', '_')}")
        sub = verbs.add_parser(
            name,
            help=module.SUMMARY,
            description=module.__doc__,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(sub)
        sub.add_argument(
            "--json", action="store_true", help="one JSON object a line instead of text"
        )
        sub.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None, core: Core | None = None) -> int:
    """Runs one command and gives its exit status. `core`: another than the native one."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser(words[0] if words else None).parse_args(words)
    # A read lease that a writer breaks sends SIGIO, whose default is death.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    out = Output(json=arguments.json)
    try:
        status: int = arguments.run(arguments, out, core)
        sys.stdout.flush()
        return status
    except Problem as e:
        out.problem(e)
        return e.status
    except BrokenPipeError:
        # The reader of our output went away; keep the interpreter from complaining at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        out.problem(from_os(e))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
