"""Compares the BTF of every module with what its DWARF over its vmlinux gives, derived anew.

TREE: a build tree. Without it: the trees of the service, else of the configuration, else the one
that the working directory lies in. Where a service follows a tree, its work is waited for first.
Works without a service too, and writes nothing. BTF of another encoder that fits vmlinux passes
where kbuild makes the BTF, and is counted. Status 1 if any module is wrong. --json: one object a
module.
"""

import argparse
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from btfd import config, kbuild
from btfd.api.client import Client, NotRunning
from btfd.audit import BAD, FOREIGN, Audit
from btfd.cli.output import Output
from btfd.config import Settings, TreeSettings
from btfd.engine import Core, native
from btfd.errors import Problem, UsageProblem
from btfd.opening import opened
from btfd.tree import BaseState


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trees", nargs="*", metavar="TREE")
    parser.add_argument("--use", choices=kbuild.CHOICES, help="as with `btfd watch`")


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load({"use": args.use})
    core = core or native()
    bad = sum(check(tree, settings, core, out) for tree in trees(args, settings))
    return 1 if bad else 0


def trees(args: argparse.Namespace, settings: Settings) -> list[TreeSettings]:
    """What to look at, after whoever follows it has come to rest."""
    known = {os.path.realpath(tree.root): tree for tree in settings.trees}
    try:
        with Client() as client:
            followed = {
                tree["root"]: TreeSettings(tree["root"], tree["use"], tree["base_path"])
                for tree in client.call("Status")["trees"]
            }
            chosen = [os.path.realpath(tree) for tree in args.trees] or list(followed)
            for root in chosen:
                if root in followed:
                    client.call("Wait", {"tree": root})
            known |= followed
    except NotRunning:
        chosen = [os.path.realpath(tree) for tree in args.trees]
    if not chosen:
        here = kbuild.find_tree(os.path.join(os.getcwd(), "vmlinux"))
        chosen = list(known) or ([here] if here else [])
    if not chosen:
        raise UsageProblem("no tree named", hint="btfd check TREE")
    for root in chosen:
        if not os.path.isdir(root):
            raise UsageProblem("no such directory", path=root)
    found = [known.get(root, TreeSettings(root))._replace(root=root) for root in chosen]
    return [tree._replace(use=args.use or tree.use or settings.use) for tree in found]


def check(chosen: TreeSettings, settings: Settings, core: Core, out: Output) -> int:
    """Audits one tree; how many modules are not as they should be."""
    root = chosen.root
    with opened(settings._replace(encode_base=False), chosen, core) as (tree, _):
        news = tree.look_at_base()
        if news.problem is not None:
            raise news.problem.at(tree.base_path)
        if news.state is BaseState.WRITING:
            raise Problem("being written", path=tree.base_path, hint="wait for make to end")
        audit = Audit(core, tree)
    counts: Counter[str] = Counter()
    modules = list(audit.modules)
    with ThreadPoolExecutor(settings.threads, "btfd-check") as pool:
        for done, found in enumerate(pool.map(audit.module, modules), 1):
            counts[found.state] += 1
            path = os.path.join(root, found.module)
            out.object(
                {
                    "tree": root,
                    "module": found.module,
                    "state": found.state,
                    "reason": found.reason,
                    "hint": found.hint,
                }
            )
            if found.state in BAD and not out.json:
                out.failure(path, f"{found.state}: {found.reason}", found.hint)
            out.progress(done, len(modules))
    text = ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no modules"
    bad = sum(counts[state] for state in BAD)
    verdict = out.paint("not as it should be", "red") if bad else out.paint("right", "green")
    out.line(f"{root}: {verdict}, {text}")
    if counts[FOREIGN]:
        out.line(f"  foreign: made by another encoder; fits {kbuild.BASE}")
    return bad
