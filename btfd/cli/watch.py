"""Keeps the BTF of a build tree right: encodes what is stale, then follows changes.

TREE is a kernel build tree (the O= directory), with vmlinux in it; without it, the first of `trees`
in the configuration. One line an event. SIGINT and SIGTERM end it cleanly. With --once it ends when
nothing is stale, with status 1 where a module could not be encoded. A module without DWARF is
skipped, and said.
"""

import argparse
import os
import signal
from typing import Any

from btfd import config, kbuild
from btfd.cli import common
from btfd.cli.output import Output
from btfd.daemon import Daemon
from btfd.engine import Core, native
from btfd.errors import UsageProblem
from btfd.journal import Event, Journal
from btfd.notify import Notifier
from btfd.store import Store, default_path
from btfd.tree import BuildTree

SUMMARY = "encode what is stale in a build tree, then follow changes"

_COLOURS = {"failed": "red", "base-missing": "red", "deaf": "red", "encoded": "green"}
_QUIET = frozenset({"lost", "degraded", "healed", "gate", "ignored", "skipped"})


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", nargs="?", metavar="TREE")
    parser.add_argument("--once", action="store_true", help="stop when nothing is stale")
    parser.add_argument(
        "--encode-base",
        action="store_true",
        default=None,
        help="give vmlinux BTF of its own where it has DWARF but no BTF",
    )
    common.add_encoder_options(parser)


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    flags = common.encoder_flags(args) | {"encode_base": args.encode_base}
    settings = config.load(flags)
    root = args.tree or next(iter(settings.trees), None)
    if root is None:
        raise UsageProblem("no tree named", hint="btfd watch TREE, or `trees` in the configuration")
    if not os.path.isdir(root):
        raise UsageProblem("no such directory", path=root)
    core = core or native()
    store = Store(None if settings.cache == "none" else settings.cache or default_path())
    journal = Journal()
    journal.subscribe(lambda event: show(event, out))
    tree = BuildTree(
        root,
        core,
        store,
        adjust=lambda options: common.with_settings(options, settings, out),
        encode_base=settings.encode_base,
        force_base=settings.force_base,
        threads=settings.threads,
        resolve_btfids=settings.resolve_btfids,
    )
    daemon = Daemon(
        tree, core, journal, jobs=settings.threads, notifier=Notifier(), progress=out.progress
    )
    previous = {s: signal.signal(s, lambda *_: daemon.stop()) for s in _SIGNALS}
    try:
        status = daemon.run(once=args.once)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        store.close()
        daemon.wake.close()
    if store.trouble is not None:
        out.note(f"the index could not be kept ({store.trouble}); the next start encodes again")
    return status


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def show(event: Event, out: Output) -> None:
    """One event: a line on stdout, troubles on stderr."""
    out.object(event.as_json())
    if out.json:
        return
    fields = event.fields
    match event.kind:
        case "failed" | "base-missing" | "deaf":
            out.failure(event.path, fields["reason"], fields.get("hint"))
        case kind if kind in _QUIET:
            subject = event.path or fields.get("symbol", "")
            out.note(f"{subject}: {fields['reason']}", fields.get("hint"))
        case kind:
            name = out.paint(kind, _COLOURS[kind]) if kind in _COLOURS else kind
            out.line(f"{name}: {_words(event)}")
            for warning in fields.get("warnings", ()):
                out.note(f"{event.path}: {warning}")


def _words(event: Event) -> str:
    fields: dict[str, Any] = dict(event.fields)
    match event.kind:
        case "encoded" | "unchanged":
            took = sum(fields["milliseconds"].values())
            return (
                f"{event.path} ({fields['because']}), {fields['types']} types, "
                f"{fields['split_bytes']} bytes, {took:.1f} ms"
            )
        case "ready":
            return f"{event.path}, {fields['stale']} stale"
        case "stale":
            return f"{fields['modules']} modules ({fields['because']})"
        case "base-same":
            return f"{kbuild.BASE} was relinked with the same BTF, nothing to do"
        case "base-changed":
            overtaken = fields["overtaken"]
            dropped = f", {overtaken} overtaken" if overtaken else ""
            return f"{kbuild.BASE} has new BTF {fields['digest'][:12]}{dropped}"
        case "base-found":
            return f"{kbuild.BASE} has BTF {fields['digest'][:12]}"
        case _:
            return event.path or ""
