"""The kernel's limits of inotify: what is allowed, what is used, what would suffice.

Contract: reads /proc, changes nothing. `used` counts what this user's processes hold, as far as
/proc shows them. A value that cannot be read is None.

Cost: `used` opens every descriptor's fdinfo of the user's processes (50 ms on a busy desktop); it
is called when a limit was met, and by `btfd doctor`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

_SYSCTL = "/proc/sys"
#: What is suggested at least: the kernel's own default on a machine with 8 GB or more.
AT_LEAST = 1 << 17


@dataclass(frozen=True, slots=True)
class Limit:
    """One sysctl and its value."""

    name: str
    value: int | None


def watches() -> Limit:
    """The limit of watches that bites first: the user's, or the user namespace's."""
    return _stricter("fs.inotify.max_user_watches", "user.max_inotify_watches")


def instances() -> Limit:
    """The limit of inotify descriptors that bites first."""
    return _stricter("fs.inotify.max_user_instances", "user.max_inotify_instances")


@dataclass(frozen=True, slots=True)
class Used:
    """What a user holds."""

    instances: int
    watches: int


def used(uid: int | None = None) -> Used:
    """What the processes of `uid` (this process's, if None) hold, as far as they can be seen."""
    uid = os.getuid() if uid is None else uid
    instances = watches = 0
    for fdinfo in _inotify_descriptors(uid):
        instances += 1
        try:
            with open(fdinfo, "rb") as f:
                watches += sum(line.startswith(b"inotify wd:") for line in f)
        except OSError:
            continue
    return Used(instances, watches)


def enough_watches(missing: int) -> str:
    """The sysctl line that leaves room for `missing` watches more than the limit allows now."""
    limit = watches()
    wanted = max(AT_LEAST, (limit.value or 0) + max(1, missing))
    # Twice: the editor's turn comes next.
    return f"sysctl {limit.name}={1 << (2 * wanted - 1).bit_length()}"


def enough_instances() -> str:
    """The sysctl line that leaves room for more inotify descriptors."""
    limit = instances()
    return f"sysctl {limit.name}={max(1024, 2 * (limit.value or 0))}"


def _stricter(*names: str) -> Limit:
    read = [_read(name) for name in names]
    known = [limit for limit in read if limit.value is not None]
    return min(known, key=lambda limit: limit.value or 0, default=read[0])


def _read(name: str) -> Limit:
    try:
        with open(os.path.join(_SYSCTL, *name.split("."))) as f:
            return Limit(name, int(f.read()))
    except (OSError, ValueError):
        return Limit(name, None)


def _inotify_descriptors(uid: int) -> Iterator[str]:
    """The fdinfo files of a user's inotify descriptors."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{pid}/fd"
        try:
            if os.stat(f"/proc/{pid}").st_uid != uid:
                continue
            for fd in os.listdir(folder):
                if os.readlink(f"{folder}/{fd}") == "anon_inode:inotify":
                    yield f"/proc/{pid}/fdinfo/{fd}"
        except OSError:
            continue  # it ended, or is not ours to look into
