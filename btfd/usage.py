"""Who makes the BTF of modules in a tree: kbuild, or we?

Contract: `decide` takes it from the configuration of btfd or from the tree's auto.conf. Where
kbuild makes it, its step follows each link within the same recipe: whoever writes BTF in between
makes that step fail (objcopy refuses a second .BTF) or does its work in vain. So modules are left
alone while a make with that step is at work in the tree (`building`), and then `examine` tells
whether what kbuild left is right: BTF that we made for it, or BTF that is not older than vmlinux
and fits it. Anything else is for us to mend. A make whose step is switched off (`cmd_btf_ko=true`)
is no reason to wait.

Cost: `building` reads the name of every process and the directory of each make, 2 ms; `examine` one
read and check of a module's .BTF, 1 ms for most.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from btfd import kbuild
from btfd.encode import BaseInfo, Outcome
from btfd.engine import Core, Stamp, stamp_of
from btfd.errors import Refused
from btfd.kbuild import AUTO, KBUILD, WATCHER

#: A make that we cannot see (in a container) has this long for its step, after the last event.
QUIET = 1.0
#: How often we look whether a make has ended.
LOOK = 0.5
#: What switches kbuild's step off; its name is that of the recipe's command.
SWITCH = b"cmd_btf_ko="
_MAKES = frozenset({b"make", b"gmake", b"ninja"})


class Use(NamedTuple):
    """Who makes BTF here, and how that is known."""

    who: str
    origin: str


def decide(config: kbuild.Config | None, configured: str = AUTO) -> Use:
    """`configured`: one of `kbuild.CHOICES`."""
    if configured != AUTO:
        return Use(configured, "configured")
    if config is None:
        return Use(WATCHER, "no auto.conf in the tree")
    if not config.on("CONFIG_DEBUG_INFO_BTF"):
        return Use(WATCHER, "CONFIG_DEBUG_INFO_BTF is off")
    if not config.on("CONFIG_DEBUG_INFO_BTF_MODULES"):
        return Use(WATCHER, "CONFIG_DEBUG_INFO_BTF_MODULES is off")
    return Use(KBUILD, "CONFIG_DEBUG_INFO_BTF_MODULES is on")


def building(root: str) -> bool:
    """Whether a make of ours is at work in the tree, with kbuild's BTF step on."""
    inside = os.fsencode(root).rstrip(b"/")
    for process in _makes():
        try:
            folder = os.readlink(process + b"/cwd")
            if folder != inside and not folder.startswith(inside + b"/"):
                continue
            with open(process + b"/cmdline", "rb") as f:
                told = f.read()
            with open(process + b"/environ", "rb") as f:
                told += b"\0" + f.read()
        except PermissionError:
            # Ours, but seen from inside a sandbox: any tree may be where it is at work.
            if _is_ours(process):
                return True
            continue
        except OSError:
            continue  # it has ended
        if SWITCH not in told:
            return True
    return False


def _is_ours(process: bytes) -> bool:
    try:
        return os.stat(process).st_uid == os.geteuid()
    except OSError:
        return False


def _makes() -> Iterator[bytes]:
    """The /proc directories of the processes that may be running kbuild."""
    with contextlib.suppress(OSError), os.scandir(b"/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            try:
                with open(entry.path + b"/comm", "rb") as f:
                    name = f.read().rstrip(b"\n")
            except OSError:
                continue
            if name in _MAKES:
                yield entry.path


def examine(
    core: Core, path: str, base: BaseInfo, ours: Callable[[str, bytes, str], bool]
) -> Outcome | None:
    """What kbuild made, where it is right; None where a module has to be encoded.

    `ours`: whether bytes are what was answered for this path over the base of this digest.
    """
    stamp = stamp_of(path)
    base_stamp = stamp_of(base.path)
    if stamp is None or base_stamp is None:
        return None
    try:
        btf, distilled = core.read_layers(path)
        if not ours(path, btf, base.base.digest) and (
            older(stamp, base_stamp) or core.verify(btf, base.base, distilled)
        ):
            return None
    except Refused:
        return None
    if stamp_of(path) != stamp:
        return None
    return Outcome(path, "kept", size=len(btf), stamp=stamp, input=stamp)


def older(stamp: Stamp, base: Stamp) -> bool:
    """Whether a module was written before its base, which is how kbuild itself judges."""
    return stamp[3] < base[3]
