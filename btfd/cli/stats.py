"""Says what the base saves: the BTF of every module of TREE without a base, and over its vmlinux.

Nothing in the tree is written. Both are encoded now, with the features that the tree's kbuild
would pass; modules without debug information are left out, and said.

--json prints one object a module (path, full_bytes, split_bytes, types, reason) and a last one
with the total (modules, failed, full_bytes, split_bytes, base_bytes).
"""

import argparse
import os
from collections.abc import Iterator
from typing import Any

from btfd import config, kbuild, sizes
from btfd.cli import common
from btfd.cli.output import Output
from btfd.engine import Core, native
from btfd.errors import UsageProblem, from_os
from btfd.page import render, size


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", metavar="TREE", help="a kernel build tree")
    common.add_base(parser)
    parser.add_argument("--html", metavar="FILE", help="also write a page with a plot")
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="show the N largest (default: 10)"
    )
    common.add_encoder_options(parser)


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load(common.encoder_flags(args))
    core = core or native()
    base_path = args.base or os.path.join(args.tree, kbuild.BASE)
    if not os.path.exists(base_path):
        raise UsageProblem("there is no vmlinux", path=args.tree, hint="give --base BASE")
    paths = [(name, os.path.join(args.tree, name)) for name in modules_of(args.tree)]
    if not paths:
        raise UsageProblem("there are no modules", path=args.tree)
    base = common.load_base(core, base_path)
    options = common.options_for(args.tree, settings, out)
    found = []
    for module in sizes.measure(core, paths, base, options, settings.threads):
        found.append(module)
        out.object(as_object(module))
        out.progress(len(found), len(paths))
        if module.reason is not None:
            out.note(f"{module.path}: left out: {module.reason}")
    total = sizes.total(found)
    top = sizes.largest(found, args.top)
    out.object(
        {
            "modules": total.modules,
            "failed": total.failed,
            "full_bytes": total.full,
            "split_bytes": total.split,
            "base_bytes": base.base.size,
        }
    )
    for line in table(top, total, base.base.size):
        out.line(line)
    if args.html:
        page = render(args.tree, base.release, base.base.size, found, top, total)
        try:
            with open(args.html, "w", encoding="utf-8", errors="surrogateescape") as f:
                f.write(page)
        except OSError as e:
            raise from_os(e, args.html) from e
    return 0 if total.modules else 1


def modules_of(tree: str) -> list[str]:
    """The modules of a tree that exist: those that kbuild lists, else all that lie there."""
    listed = kbuild.modules_order(tree)
    if listed:
        return [name for name in listed if os.path.exists(os.path.join(tree, name))]
    found = []
    for folder, _, files in os.walk(tree):
        found += [os.path.relpath(os.path.join(folder, f), tree) for f in files if f[-3:] == ".ko"]
    return sorted(found)


def as_object(module: sizes.Module) -> dict[str, Any]:
    """The JSON form of one module."""
    good = module.reason is None
    return {
        "path": module.path,
        "full_bytes": module.full if good else None,
        "split_bytes": module.split if good else None,
        "types": module.types if good else None,
        "reason": module.reason,
    }


def table(top: list[sizes.Module], total: sizes.Total, base_size: int) -> Iterator[str]:
    """The lines for people."""
    whole = f"all {total.modules} modules"
    width = max([len(m.path) for m in top] + [len(whole)])
    yield f"{'':{width}}  {'full BTF':>10}  {'split BTF':>10}  {'saved':>6}"
    for name, full, split in [
        *((m.path, m.full, m.split) for m in top),
        (whole, total.full, total.split),
    ]:
        saved = f"{1 - split / full:.1%}" if full else ""
        yield f"{name:{width}}  {size(full):>10}  {size(split):>10}  {saved:>6}"
    yield f"{'base BTF of vmlinux':{width}}  {size(base_size):>10}"
