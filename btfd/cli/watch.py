"""Keeps the BTF of a build tree right: encodes what is stale, then follows changes.

TREE is a kernel build tree (the O= directory), with vmlinux in it; without it, the first of `trees`
in the configuration. One line an event. SIGINT and SIGTERM end it cleanly. With --once it ends when
nothing is stale, with status 1 where a module could not be encoded. A module without DWARF is
skipped, and said.
"""

import argparse
import os
import signal

from btfd import config, kbuild
from btfd.cli import common, phrases
from btfd.cli.output import Output
from btfd.config import TreeSettings
from btfd.daemon import Daemon
from btfd.engine import Core, native
from btfd.errors import UsageProblem
from btfd.journal import Journal
from btfd.memory import bound_arenas
from btfd.notify import Notifier
from btfd.opening import opened


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", nargs="?", metavar="TREE")
    parser.add_argument("--once", action="store_true", help="stop when nothing is stale")
    parser.add_argument(
        "--encode-base",
        action="store_true",
        default=None,
        help="give vmlinux BTF of its own where it has DWARF but no BTF",
    )
    parser.add_argument(
        "--use",
        choices=kbuild.CHOICES,
        help="who makes the BTF of modules: kbuild (only what it leaves without or with stale BTF "
        "is mended) or watcher (default: found out from the tree's auto.conf)",
    )
    common.add_encoder_options(parser)


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    flags = common.encoder_flags(args) | {"encode_base": args.encode_base, "use": args.use}
    settings = config.load(flags)
    chosen = TreeSettings(args.tree) if args.tree else next(iter(settings.trees), None)
    if chosen is None:
        raise UsageProblem("no tree named", hint="btfd watch TREE, or `trees` in the configuration")
    if not os.path.isdir(chosen.root):
        raise UsageProblem("no such directory", path=chosen.root)
    common.note_unknown(settings, out)
    bound_arenas(settings.threads)
    core = core or native()
    journal = Journal(keep=0)  # what is shown; nobody asks for it again
    journal.subscribe(lambda event: phrases.show(event, out))
    chosen = chosen._replace(use=args.use or chosen.use)
    with opened(settings, chosen, core) as (tree, store):
        daemon = Daemon(
            tree, core, journal, jobs=settings.threads, notifier=Notifier(), progress=out.progress
        )
        previous = {s: signal.signal(s, lambda *_: daemon.stop()) for s in _SIGNALS}
        try:
            status = daemon.run(once=args.once)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            daemon.wake.close()
    if store.trouble is not None:
        out.note(f"the index could not be kept ({store.trouble}); the next start encodes again")
    return status


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
