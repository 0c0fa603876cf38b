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
from importlib.metadata import PackageNotFoundError, version

from btfd.cli import dump, encode, verify, watch
from btfd.cli.output import Output
from btfd.engine import Core
from btfd.errors import Problem, from_os

_EPILOG = """\
exit status:
  0  done
  1  failed: at least one file could not be served; the reason is on stderr
  2  usage: the command line or the configuration is wrong
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="btfd",
        description="BTF for Linux kernel modules, live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"btfd {_version()}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in (watch, encode, dump, verify):
        sub = verbs.add_parser(
            verb.NAME,
            help=verb.SUMMARY,
            description=verb.__doc__,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.arguments(sub)
        sub.add_argument(
            "--json", action="store_true", help="one JSON object a line instead of text"
        )
        sub.set_defaults(run=verb.run)
    return top


def _version() -> str:
    try:
        return version("btfd")
    except PackageNotFoundError:
        return "(not installed)"


def main(argv: Sequence[str] | None = None, core: Core | None = None) -> int:
    """Runs one command and gives its exit status. `core`: another than the native one."""
    arguments = parser().parse_args(argv)
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
