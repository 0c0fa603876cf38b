"""For editors: FILE was saved; says what that did to the types of the modules that it is part of.

With --build the command `build` of the configuration is run for just those modules; without,
somebody else has to build them. Then it waits for their BTF and prints what changed. A running
service (`btfd run`) is asked; without one the modules are encoded here, which needs --build.

A save that is overtaken by another one of the same file, while it waits for its turn, ends at once
with status 0. A file that no module is built from is no failure either. One build of a tree runs at
a time, and what a build compiled while the file was being saved is compiled again.

--json prints the events of the modules; --format gcc prints notes at the lines that changed.

exit status:
  0  done, or nothing to do
  1  the build or a module failed, or it took longer than --timeout
  2  usage: the command line or the configuration is wrong
"""

import argparse
import functools
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from btfd import config, resolver, sources
from btfd.api.client import Client, NotRunning
from btfd.api.wire import Fault
from btfd.cli import changes, common, phrases, turns
from btfd.cli.events import as_event
from btfd.cli.output import Output
from btfd.config import Settings
from btfd.encode import Outcome, Request, encode_patiently, full_is_cheap
from btfd.engine import Core, Graph, native
from btfd.errors import Problem, UsageProblem
from btfd.feedback import Memory, ranked
from btfd.journal import Event

_SAID = frozenset({"encoded", "unchanged", "kept", "failed", "skipped"})
#: Seconds between two looks, while somebody else builds.
_LOOK = 0.2


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--build", action="store_true", help="run the configured build command")
    parser.add_argument(
        "--tree", metavar="TREE", help="build tree (default: the one that it is in)"
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="seconds (default: 600)"
    )
    parser.add_argument("--format", choices=("text", "gcc"), default="text")


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load({})
    path = os.path.abspath(args.file)
    roots = tuple(tree.root for tree in common.trees(settings))
    tree = os.path.realpath(args.tree) if args.tree else sources.root_of(path, roots)
    if tree is None:
        out.note(f"{args.file}: in no kernel build tree", "name it with --tree, or in `trees`")
        return 0
    if args.build and not settings.build:
        raise UsageProblem("no build command is configured", hint="build: make -C {tree} {modules}")
    modules = sources.modules_of(tree, path)
    if not modules:
        out.note(f"{args.file}: no module is built from it")
        return 0
    with turns.save(path) as mine:
        if not mine:
            out.note(f"{args.file}: overtaken by a later save")
            return 0
        build = None
        if args.build:
            command = _command(settings.build, tree, modules, path)
            build = functools.partial(turns.build, command, tree, path)
        try:
            with Client() as client:
                events = list(_served(client, tree, modules, path, build, args.timeout))
        except NotRunning:
            if build is None:
                raise
            events = list(_alone(core or native(), settings, tree, modules, build, out))
    failed = False
    for event in events:
        failed |= event.kind == "failed"
        if args.format == "gcc" and not out.json and event.kind != "failed":
            whole = phrases.whole(event) or ""
            told = ranked(event.fields.get("feedback") or ())
            for note in changes.notes(told, whole, sources.home(tree)):
                out.line(note)
        else:
            phrases.show(event, out)
    return 1 if failed else 0


def _command(text: str, tree: str, modules: Sequence[str], path: str) -> list[str]:
    """The configured command, its places filled in; a word `{modules}` becomes many."""
    words: list[str] = []
    try:
        parts = shlex.split(text)
    except ValueError as e:
        raise UsageProblem(f"the build command cannot be read: {e}") from e
    for word in parts:
        if word == "{modules}":
            words += modules
            continue
        for name, value in (("tree", tree), ("file", path), ("dir", os.path.dirname(path))):
            word = word.replace("{" + name + "}", value)
        words.append(word)
    return words


def _served(
    client: Client,
    tree: str,
    modules: Sequence[str],
    path: str,
    build: Callable[[], None] | None,
    timeout: float,
) -> Iterator[Event]:
    """What the service says of the modules since the save."""
    until = time.monotonic() + timeout
    status = client.call("Status", {"tree": tree}, timeout=timeout)
    since: str | None = status["generation"]
    saved = os.stat(path).st_mtime
    if build is not None:
        build()
    else:
        since = ""
    wanted = [os.path.join(tree, module) for module in modules]
    while True:
        left = max(0.0, until - time.monotonic())
        try:
            client.call("Wait", {"modules": wanted, "tree": tree, "timeout": left})
        except Fault as e:
            if e.name.endswith(".TimedOut"):
                raise Problem(f"not encoded after {timeout:g} s", path=wanted[0]) from e
            raise
        told = client.call("Events", {"since": since, "tree": tree})["events"]
        latest: dict[str, Event] = {}
        for event in map(as_event, told):
            late = build is not None or event.time >= saved
            if event.kind in _SAID and event.path is not None and event.path in modules and late:
                latest[event.path] = event
        if build is not None or len(latest) == len(modules) or left <= 0:
            yield from latest.values()
            return
        time.sleep(_LOOK)


def _alone(
    core: Core,
    settings: Settings,
    tree: str,
    modules: Sequence[str],
    build: Callable[[], None],
    out: Output,
) -> Iterator[Event]:
    """The same without a service: build, encode, compare with what was there before."""
    base = common.load_base(core, sources.base_of(tree, common.trees(settings)))
    memory = Memory()
    paths = {module: os.path.join(tree, module) for module in modules}
    memory.fill(core, base.base, paths.values())
    build()
    request = Request(
        common.options_for(tree, settings, out),
        base,
        threads=settings.threads,
        resolver=resolver.find(tree, settings.resolve_btfids),
    )
    for module, path in paths.items():

        def compare(graph: Graph, path: str = path) -> list[dict[str, Any]] | None:
            return memory.news(core, path, graph)

        full = full_is_cheap(path)
        outcome = encode_patiently(core, path, request._replace(full=full), compare=compare)
        yield _as_event(outcome, tree, module)


def _as_event(outcome: Outcome, tree: str, module: str) -> Event:
    fields = {
        "tree": tree,
        "because": "saved",
        "reason": outcome.reason,
        "hint": outcome.hint,
        "types": outcome.types,
        "split_bytes": outcome.size,
        "full_bytes": outcome.full_size,
        "milliseconds": {k: round(v, 3) for k, v in outcome.stages.items()},
        "warnings": list(outcome.warnings),
        "feedback": outcome.feedback,
    }
    kind = outcome.status if outcome.good else "failed"
    return Event("", time.time(), kind, module, fields)
