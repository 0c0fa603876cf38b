"""Entry point: picks the verb, turns a `Problem` into one line and an exit status.

Contract: status 0 done, 1 failed, 2 usage, 130 interrupted. Nothing but data goes to stdout.
Cost: only the verb that is run is imported, with what it needs; `btfd --help` imports none.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Collection, Sequence
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


#: Each is a module of `btfd.cli`, with `arguments` and `run`.
VERBS = {
    "run": "the service: many trees, and the interface for everything else",
    "watch": "encode what is stale in a build tree, then follow changes",
    "encode": "DWARF to split BTF, in place",
    "diff": "what changed between two modules, trees or kernels",
    "layout": "a struct as it lies in memory",
    "dump": "print BTF as text, C or JSON",
    "verify": "would the kernel accept it?",
    "check": "audit: is every module's BTF what its DWARF says?",
    "stats": "full BTF against split BTF, for a tree",
    "status": "what the service does",
    "modules": "the modules and the state of their BTF",
    "why": "why a module is stale, failed or right",
    "wait": "until everything written before is encoded",
    "events": "what happens, as it happens",
    "top": "a live view of the service",
    "on-save": "for editors: what a save did to the types",
    "lsp": "a language server, for editors",
    "add": "follow one more tree",
    "remove": "follow a tree no longer",
    "reload": "apply the configuration as it is now",
    "stop": "end the service",
    "config": "every value and its origin",
    "doctor": "look at what btfd depends on, with a hint for each thing that is wrong",
    "completion": "completion for bash, zsh or fish",
    "man": "the manual page",
}


def parser(whole: Collection[str] = ()) -> argparse.ArgumentParser:
    """The command line, with the verbs `whole`; without any, all verbs by name and summary."""
    top = argparse.ArgumentParser(
        prog="btfd",
        description="BTF for Linux kernel modules, live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"btfd {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    if not whole:
        for name, summary in VERBS.items():
            verbs.add_parser(name, help=summary)
    for name in whole:
        module = import_module(f"btfd.cli.{name.replace('-', '_')}")
        sub = verbs.add_parser(
            name,
            help=VERBS[name],
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
    verb = next((word for word in words if word != "--"), "")
    arguments = parser([verb] if verb in VERBS else ()).parse_args(words)
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
