"""Says what changed between two modules, trees or kernels: types, layouts, prototypes, by name.

A and B are modules, vmlinux files, raw BTF, or build trees (every module that both have, and their
vmlinux). A module in a build tree finds its base; --base names one for both, --old-base another one
for A. A module without BTF is encoded in memory.

--save FILE keeps the types of A as a baseline; `btfd diff --baseline FILE B` compares B with it.
With --fail-on the status is 1 where a change touches one of these topics: layout (structs and
unions), proto (functions), enum, kfunc, percpu, typedef, shadow (a type that differs from the one
of vmlinux), removed, added, any.

Formats: text; json (one object a module, also --json); gcc (file:line:col: note: ..., which editors
understand); sarif.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from btfd import baseline, config, feedback, kbuild
from btfd.baseline import Snapshot
from btfd.cli import changes, common
from btfd.cli.output import Output
from btfd.engine import Base, Core, Graph, native
from btfd.errors import Problem, UsageProblem
from btfd.feedback import TOPICS, Change, ranked


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE|TREE", help="A B, or one with a baseline")
    common.add_base(parser)
    parser.add_argument("--old-base", metavar="BASE", help="base of A, where it is another")
    parser.add_argument("--save", metavar="FILE", help="write the types of A to a baseline")
    parser.add_argument("--baseline", metavar="FILE", help="compare with this instead of with A")
    parser.add_argument(
        "--fail-on", metavar="TOPICS", default="", help="end with 1 where one of these changed"
    )
    parser.add_argument(
        "--format", choices=("text", "json", "gcc", "sarif"), default=None, help="default: text"
    )
    parser.add_argument("-a", "--all", action="store_true", help="every change, in full")


@dataclass(frozen=True)
class _Subject:
    """A file to compare: its name in the result, and its graph."""

    name: str
    path: str | None
    graph: Graph


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    core = core or native()
    fatal = _topics(args.fail_on)
    want = 1 if args.save or args.baseline else 2
    if len(args.files) != want:
        raise UsageProblem(
            f"{len(args.files)} files or trees, expected {want}",
            hint="btfd diff A B; btfd diff --save FILE A; btfd diff --baseline FILE B",
        )
    reader = _Reader(core, out, args.base)
    if args.save:
        snapshots = [Snapshot(s.name, s.graph) for s in reader.subjects(args.files[0])]
        baseline.save(core, args.save, snapshots)
        out.line(f"{args.save}: {len(snapshots)} saved")
        return 0
    if args.baseline:
        old = [_Subject(s.name, None, s.graph) for s in baseline.load(args.baseline)]
    else:
        old = list(_Reader(core, out, args.old_base or args.base).subjects(args.files[0]))
    new = list(reader.subjects(args.files[-1]))
    form = args.format or ("json" if out.json else "text")
    found = list(_compare(core, old, new, own_base=args.baseline is not None))
    _show(found, form, out, everything=args.all)
    hit = [c for _, changes in found for c in changes if c.topics & fatal]
    if hit:
        out.failure(None, f"{len(hit)} changes touch {', '.join(sorted(fatal))}")
    return 1 if hit else 0


def _topics(text: str) -> frozenset[str]:
    names = frozenset(filter(None, text.split(",")))
    if unknown := sorted(names - set(TOPICS)):
        raise UsageProblem(f"no such topic: {unknown[0]}", hint=f"one of {', '.join(TOPICS)}")
    return names


class _Reader:
    """Files and trees as graphs; each base is loaded once."""

    def __init__(self, core: Core, out: Output, base: str | None) -> None:
        self._core = core
        self._out = out
        self._named = base
        self._bases: dict[str, Base] = {}

    def subjects(self, path: str) -> Iterator[_Subject]:
        if not os.path.isdir(path):
            yield _Subject(os.path.basename(path), path, self.graph(path))
            return
        base = os.path.join(path, kbuild.BASE)
        if self._named is None and os.path.exists(base):
            loaded = self._base(base)
            yield _Subject(kbuild.BASE, base, (loaded.to_bytes(), None, None))
        modules = kbuild.modules_order(path) or _walk(path)
        for module in sorted(modules):
            whole = os.path.join(path, module)
            if not os.path.exists(whole):
                continue
            try:
                yield _Subject(module, whole, self.graph(whole, base))
            except Problem as e:
                self._out.note(f"{whole}: left out: {e.cause}")

    def graph(self, path: str, base: str | None = None) -> Graph:
        name = self._named or (base if base and os.path.exists(base) else None)
        distilled = None
        try:
            btf, distilled = self._core.read_layers(path)
        except Problem as e:
            if not path.endswith(".ko"):
                raise e.at(path) from None
            btf = None
        if name is None and distilled is None:
            name = common.find_base(path, self._out)
        loaded = self._base(name) if name else None
        if btf is None:
            # As it came from the linker: its types are in the DWARF.
            options = common.options_for(kbuild.find_tree(path), config.load({}), self._out)
            features = [f for f in options.features if f != "distilled_base"]
            made = self._core.encode(
                path,
                loaded,
                features,
                lang_exclude=options.lang_exclude,
                threads=os.cpu_count() or 1,
                full=False,
                resolve=False,
                earlier=None,
            )
            btf = made.btf
        return (btf, loaded, distilled)

    def _base(self, path: str) -> Base:
        if path not in self._bases:
            self._bases[path] = self._core.load_base(path)
        return self._bases[path]


def _walk(root: str) -> list[str]:
    found = []
    for folder, _, files in os.walk(root):
        found += [os.path.join(folder, name) for name in files if name.endswith(".ko")]
    return [os.path.relpath(path, root) for path in found]


def _compare(
    core: Core, old: list[_Subject], new: list[_Subject], *, own_base: bool
) -> Iterator[tuple[_Subject, list[Change]]]:
    """Pairs by name; two single files whatever they are called."""
    before = {s.name: s for s in old}
    if len(old) == 1 and len(new) == 1:
        before = {new[0].name: old[0]}
    for subject in new:
        other = before.pop(subject.name, None)
        if other is None:
            continue
        graph = subject.graph
        if own_base and other.graph[2] is not None and graph[2] is None and graph[1] is not None:
            graph = baseline.distilled(core, graph)
        values = core.diff(other.graph, graph)
        if subject.path is not None:
            feedback.place(core, subject.path, values)
        yield subject, ranked(values)


def _show(
    found: list[tuple[_Subject, list[Change]]], form: str, out: Output, *, everything: bool
) -> None:
    if form == "sarif":
        from importlib.metadata import version

        log = changes.sarif(((s.path or s.name, c) for s, c in found), version("btfd"))
        out.text(json.dumps(log, indent=1) + "\n")
        return
    for subject, list_ in found:
        if form == "json":
            out.text(json.dumps(_object(subject, list_), separators=(",", ":")) + "\n")
        elif form == "gcc":
            for note in changes.notes(list_, subject.path or subject.name):
                out.text(note + "\n")
        elif list_:
            words = changes.counted(feedback.counts(list_))
            out.line(f"{out.paint(subject.name, 'bold')}: {words}")
            if everything:
                for change in list_:
                    out.line(f"  {changes.line(change, out)}")
            else:
                for text in changes.lines(list_, out, most=30):
                    out.line(f"  {text}")
    if form == "text" and not any(list_ for _, list_ in found):
        out.line("no type changed")


def _object(subject: _Subject, list_: list[Change]) -> dict[str, Any]:
    return {"path": subject.path or subject.name, "changes": [change.as_json() for change in list_]}
