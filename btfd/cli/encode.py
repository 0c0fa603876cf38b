"""Encodes the DWARF of modules as split BTF over BASE, in place or into raw files.

Without --base a file that is not a relocatable object (a vmlinux) is encoded on its own, and a
module gets the vmlinux of the build tree that holds it. The files keep mode and owner; a killed
btfd leaves the old file or the new one.

--json prints one object a module: path, status (encoded, unchanged or failed), reason, types,
split_bytes, full_bytes (null without --full), milliseconds by stage.
"""

import argparse
import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from typing import Any

from btfd import config, kbuild, resolver
from btfd.cli import common
from btfd.cli.output import Output
from btfd.encode import BaseInfo, Outcome, Request, encode_patiently
from btfd.engine import Core, native
from btfd.errors import UsageProblem


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a .ko, or a vmlinux")
    common.add_base(parser)
    parser.add_argument(
        "--detached",
        metavar="FILE|DIR",
        help="leave the input alone and write raw BTF: to FILE, or to DIR/<path as given>.btf when "
        "there are several inputs, or DIR exists or ends in a slash",
    )
    common.add_encoder_options(parser)
    parser.add_argument(
        "--full", action="store_true", help="also count what the BTF would take without a base"
    )


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load(common.encoder_flags(args))
    args.files = list(dict.fromkeys(args.files))
    targets = detached_targets(args.detached, args.files)
    core = core or native()
    requests = _requests(args, settings, core, out)
    jobs = min(settings.threads, len(args.files))
    threads = max(1, settings.threads // jobs)

    def one(path: str) -> Outcome:
        request = requests[path]._replace(threads=threads)
        return encode_patiently(core, path, request, detached=targets.get(path))

    failed = 0
    with contextlib.closing(_outcomes(one, args.files, jobs)) as outcomes:
        for done, outcome in enumerate(outcomes, 1):
            failed += not outcome.good
            show(outcome, out)
            out.progress(done, len(args.files))
    return 1 if failed else 0


def _outcomes(one: Callable[[str], Outcome], files: Sequence[str], jobs: int) -> Generator[Outcome]:
    """In the order given, each as soon as those before it are done."""
    if jobs == 1:
        yield from map(one, files)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(jobs, "btfd-encode") as pool:
        try:
            yield from pool.map(one, files)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _requests(
    args: argparse.Namespace, settings: config.Settings, core: Core, out: Output
) -> dict[str, Request]:
    """How to encode every file; each base is loaded once."""
    bases: dict[str, BaseInfo] = {}
    options: dict[str | None, kbuild.EncoderOptions] = {}
    requests: dict[str, Request] = {}
    for path in args.files:
        base_path = args.base or common.find_base(path, out)
        if base_path is not None and base_path not in bases:
            bases[base_path] = common.load_base(core, base_path)
        tree = kbuild.find_tree(path) or (kbuild.find_tree(base_path) if base_path else None)
        if tree not in options:
            options[tree] = common.options_for(tree, settings, out)
        requests[path] = Request(
            options[tree],
            bases[base_path] if base_path else None,
            full=args.full,
            force_base=settings.force_base,
            resolver=resolver.find(tree, settings.resolve_btfids),
        )
    return requests


def detached_targets(target: str | None, files: Sequence[str]) -> dict[str, str]:
    """Where the raw BTF of each file goes; empty when everything is done in place."""
    if target is None:
        return {}
    if len(files) == 1 and not target.endswith("/") and not os.path.isdir(target):
        return {files[0]: target}
    targets: dict[str, str] = {}
    for path in files:
        if ".." in path.split("/"):
            raise UsageProblem(
                f"`..` in a path would lead out of {target}",
                path=path,
                hint="name the file from a parent directory, or absolutely",
            )
        targets[path] = os.path.join(target, os.path.normpath(path).lstrip("/") + ".btf")
    return targets


def as_object(outcome: Outcome) -> dict[str, Any]:
    """The JSON form of one outcome."""
    return {
        "path": outcome.path,
        "status": outcome.status if outcome.good else "failed",
        "reason": outcome.reason,
        "hint": outcome.hint,
        "types": outcome.types,
        "split_bytes": outcome.size,
        "full_bytes": outcome.full_size,
        "milliseconds": {stage: round(ms, 3) for stage, ms in outcome.stages.items()},
        "warnings": list(outcome.warnings),
        "detached": outcome.target,
    }


def show(outcome: Outcome, out: Output) -> None:
    """One outcome as a line, and what was wrong with it on stderr."""
    out.object(as_object(outcome))
    for warning in outcome.warnings:
        out.note(f"{outcome.path}: {warning}")
    if not outcome.good:
        out.failure(outcome.path, outcome.reason or outcome.status, outcome.hint)
        return
    milliseconds = sum(outcome.stages.values())
    out.line(
        f"{outcome.path}: {out.paint(outcome.status, 'green')}, {outcome.types} types, "
        f"{outcome.size} bytes, {milliseconds:.1f} ms"
    )
