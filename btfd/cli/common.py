"""What the verbs share: bases, encoder options, flags.

Contract: `find_base` says on stderr which base it took when none was named; `options_for` is what
the file's own build tree would pass to pahole, unless the user says otherwise.
"""

import argparse
import os

from btfd import config, elf, features, kbuild, roster, sources
from btfd.cli.output import Output
from btfd.config import Settings, TreeSettings
from btfd.encode import BaseInfo, kernel_release
from btfd.engine import Core
from btfd.errors import UsageProblem
from btfd.kbuild import EncoderOptions

BASE_HELP = "base BTF: a vmlinux with .BTF, raw BTF, or /sys/kernel/btf/vmlinux"


def add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", metavar="BASE", help=BASE_HELP)


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """Flags that decide the encoder's output, and -j."""
    parser.add_argument(
        "--btf-features",
        action="append",
        metavar="LIST",
        help="pahole's feature names, comma separated; `default`, `+name` and repetition work as "
        "with pahole (default: what the tree's kbuild would pass)",
    )
    parser.add_argument(
        "--lang-exclude",
        metavar="LIST",
        help="leave out compilation units in these languages, comma separated",
    )
    parser.add_argument(
        "--force-base",
        action="store_true",
        default=None,
        help="do not refuse a module that was made for another kernel than the base",
    )
    parser.add_argument(
        "-j", "--jobs", type=_jobs, metavar="N", help="threads (default: one for each CPU)"
    )


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)


def encoder_flags(arguments: argparse.Namespace) -> dict[str, object]:
    """The flags of `add_encoder_options`, under the names that `config` knows."""
    excluded = arguments.lang_exclude
    return {
        "btf_features": tuple(arguments.btf_features) if arguments.btf_features else None,
        "lang_exclude": None if excluded is None else tuple(filter(None, excluded.split(","))),
        "force_base": arguments.force_base,
        "jobs": arguments.jobs,
    }


def options_for(tree: str | None, settings: Settings, out: Output) -> EncoderOptions:
    """Encoder options for files of a tree (None: outside any)."""
    found = kbuild.read_config(tree) if tree is not None else None
    release = kbuild.release_of(tree) if tree is not None else None
    note_unknown(settings, out)
    return settings.adjust(kbuild.encoder_options(found, release))


def trees(settings: Settings) -> tuple[TreeSettings, ...]:
    """The trees of the configuration, and those that were added to the service."""
    return settings.trees + tuple(roster.read(roster.default_path()))


def note_unknown(settings: Settings, out: Output) -> None:
    """pahole says nothing of names that it does not know; we do."""
    for name in features.parse(settings.btf_features).unknown:
        out.note_once(f"unknown BTF feature `{name}` turns nothing on")


def load_base(core: Core, path: str) -> BaseInfo:
    """A base, with the kernel release that it belongs to where that can be found out."""
    return BaseInfo(path, core.load_base(path), kernel_release(core, path))


def find_base(path: str, out: Output) -> str | None:
    """The base for a file when none was named; None: it stands alone.

    A module (by its name, else by its ELF type) gets the vmlinux of the tree that holds it, or the
    one that was configured for a directory of external modules.
    """
    try:
        if not os.path.exists(path) or not (path.endswith(".ko") or elf.identify(path).is_module):
            return None
    except OSError:
        return None  # whoever opens it next says so
    known = trees(config.load({}))
    tree = sources.root_of(path, tuple(one.root for one in known))
    if tree is None:
        raise UsageProblem(
            "a module needs a base, and it lies in no kernel build tree",
            path=path,
            hint="give --base vmlinux, or --base /sys/kernel/btf/vmlinux for the running kernel",
        )
    base = sources.base_of(tree, known)
    out.note_once(f"base: {base}")
    return base
