"""What around us is as it should be, and what is not: `btfd doctor`.

Contract: each check looks at one thing and changes nothing; it answers with one `Finding`, whatever
it meets. A finding is bad where BTF will not be made, or not be followed, as the user expects; a
remark where something works less well than it could. Each that is not right has a hint.

Cost: reading /proc, one call of pahole and one of systemctl; half a second.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from btfd import __version__, limits
from btfd.api import address, wire
from btfd.config import Settings
from btfd.errors import Problem
from btfd.mounts import Mounts
from btfd.store import default_path

RIGHT, REMARK, BAD = "right", "remark", "bad"
#: Directories of a kernel tree without O=, and somewhat more.
ONE_TREE = 6000


@dataclass(frozen=True, slots=True)
class Finding:
    """About one thing. `state` is right, remark or bad."""

    subject: str
    state: str
    text: str
    hint: str | None = None


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything, one after the other."""
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        _kernel,
        _pahole,
        _drop_in,
        _watches,
        _instances,
        _leases,
        lambda: _cache(settings),
        lambda: _trees(settings),
        _socket,
        _units,
    )
    for check in checks:
        yield from check()


def _kernel() -> Iterator[Finding]:
    release = os.uname().release
    if os.path.exists("/sys/kernel/btf/vmlinux"):
        yield Finding("kernel", RIGHT, f"{release}, has BTF itself")
    else:
        hint = "only needed to encode for the kernel that runs: one with CONFIG_DEBUG_INFO_BTF=y"
        yield Finding("kernel", REMARK, f"{release}, without /sys/kernel/btf/vmlinux", hint)


def _pahole() -> Iterator[Finding]:
    version = _output("pahole", "--version")
    if version is None:
        hint = "kbuild asks for it, and the drop-in hands over to it what it does not know: dwarves"
        yield Finding("pahole", REMARK, "not in PATH", hint)
    else:
        yield Finding("pahole", RIGHT, version)


def _drop_in() -> Iterator[Finding]:
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "btfd-pahole")
    found = shutil.which("btfd-pahole") or (beside if os.access(beside, os.X_OK) else None)
    if found is None:
        yield Finding("drop-in", REMARK, "no btfd-pahole in PATH", "make install-user")
    else:
        yield Finding("drop-in", RIGHT, f"make PAHOLE={found}")


def _watches() -> Iterator[Finding]:
    limit, used = limits.watches(), limits.used()
    if limit.value is None:
        yield Finding("inotify watches", REMARK, f"{limit.name} cannot be read")
        return
    text = f"{used.watches} of {limit.value} in use"
    if limit.value - used.watches < ONE_TREE:
        hint = limits.enough_watches(ONE_TREE)
        yield Finding("inotify watches", BAD, f"{text}: too few for another tree", hint)
    else:
        yield Finding("inotify watches", RIGHT, text)


def _instances() -> Iterator[Finding]:
    limit, used = limits.instances(), limits.used()
    if limit.value is None:
        yield Finding("inotify descriptors", REMARK, f"{limit.name} cannot be read")
        return
    text = f"{used.instances} of {limit.value} in use"
    if limit.value - used.instances < 2:
        yield Finding("inotify descriptors", BAD, text, limits.enough_instances())
    else:
        yield Finding("inotify descriptors", RIGHT, text)


def _leases() -> Iterator[Finding]:
    try:
        with open("/proc/sys/fs/leases-enable") as f:
            on = f.read().strip() != "0"
    except OSError:
        on = True
    if on:
        yield Finding("leases", RIGHT, "a module that somebody is writing is recognised")
    else:
        text = "switched off: a module is copied to be changed, and its writers are not seen"
        yield Finding("leases", REMARK, text, "sysctl fs.leases-enable=1")


def _cache(settings: Settings) -> Iterator[Finding]:
    if settings.cache == "none":
        yield Finding("index", REMARK, "kept in memory: each start encodes everything again")
        return
    path = settings.cache or default_path()
    folder = os.path.dirname(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if os.access(path if os.path.exists(path) else folder, os.W_OK):
        yield Finding("index", RIGHT, path)
    else:
        hint = "set `cache` in the configuration, or make it writable"
        yield Finding("index", BAD, f"{path} cannot be written", hint)


def _trees(settings: Settings) -> Iterator[Finding]:
    for tree in settings.trees:
        root = os.path.realpath(tree.root)
        if not os.path.isdir(root):
            yield Finding("tree", BAD, f"{tree.root}: no such directory", "mend `trees`")
            continue
        mounts = Mounts(os.fsencode(root))
        mounts.close()
        if mounts.deaf is not None:
            hint = "keep the build tree on a local file system; until then it is polled"
            yield Finding("tree", REMARK, f"{root}: {mounts.deaf}", hint)
        elif not os.access(root, os.W_OK):
            yield Finding("tree", BAD, f"{root}: cannot be written", "it has to be yours")
        else:
            yield Finding("tree", RIGHT, root)


def _socket() -> Iterator[Finding]:
    path = wire.socket_path()
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(folder):
        try:
            address.own_directory(folder)
        except Problem as e:
            yield Finding("socket", BAD, f"{e.path or folder}: {e.cause}", e.hint)
            return
    if not os.path.exists(path):
        hint = "systemctl --user enable --now btfd.socket, or `btfd run`"
        yield Finding("socket", REMARK, f"{path}: no service", hint)
    else:
        yield Finding("socket", RIGHT, f"{path} (btfd {__version__})")


def _units() -> Iterator[Finding]:
    if shutil.which("systemctl") is None or not os.path.isdir("/run/systemd/system"):
        yield Finding("units", REMARK, "no systemd here", "start `btfd run` by other means")
        return
    state = _output("systemctl", "--user", "is-enabled", "btfd.socket")
    if state is None:
        yield Finding("units", REMARK, "btfd.socket is not enabled", "make install-user")
        return
    active = _output("systemctl", "--user", "is-active", "btfd.service") or "not running"
    if active == "failed":
        yield Finding("units", BAD, "btfd.service failed", "journalctl --user -u btfd")
    else:
        yield Finding("units", RIGHT, f"btfd.socket {state}, btfd.service {active}")


def _output(*command: str) -> str | None:
    """The first line that a program says; None where it fails or is not there."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if lines and (done.returncode == 0 or command[2:3] == ("is-active",)) else None
