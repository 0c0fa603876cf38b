"""Which file systems inotify can serve.

Contract: inotify tells what goes through this machine's own kernel. Of a file system whose files
others write, another machine or a server process, it tells only a part, and nothing says
that the rest is missing; such a tree has to be polled. `Mounts` answers for one directory and for
what is mounted below it. Where /proc cannot be read, everything counts as heard.

Cost: the table is read when `fd` says that it changed (0.1 ms for 50 mounts).
"""

import contextlib
import os
import re

#: Types whose files may be written elsewhere, and the word for that place.
_ELSEWHERE = {
    "9p": "the host or a server",
    "virtiofs": "the host",
    "vboxsf": "the host",
    "prl_fs": "the host",
    "fuse": "a server process",
    "fuseblk": "a server process",
    "nfs": "another machine",
    "nfs4": "another machine",
    "cifs": "another machine",
    "smb3": "another machine",
    "smbfs": "another machine",
    "afs": "another machine",
    "ceph": "another machine",
    "coda": "another machine",
    "gfs2": "another machine",
    "lustre": "another machine",
    "ocfs2": "another machine",
    "orangefs": "another machine",
}
_OCTAL = re.compile(rb"\\([0-7]{3})")

#: (mount id, mount point, type)
Mount = tuple[int, bytes, str]


def why_deaf(kind: str) -> str | None:
    """Why inotify does not hear all writers of a file system of this type; None where it does."""
    where = _ELSEWHERE.get(kind.partition(".")[0])
    return None if where is None else f"on {kind}, what {where} writes gives no event"


def parse(table: bytes) -> list[Mount]:
    """The lines of a mountinfo file; what cannot be read is left out."""
    found = []
    for line in table.splitlines():
        before, dash, after = line.partition(b" - ")
        words, rest = before.split(b" "), after.split(b" ")
        if not dash or len(words) < 6 or not words[0].isdigit():
            continue
        point = _OCTAL.sub(lambda m: bytes([int(m[1], 8)]), words[4])
        found.append((int(words[0]), point, rest[0].decode("latin-1")))
    return found


class Mounts:
    """The mounts that a directory lives on: its own, and those below it."""

    def __init__(self, root: bytes, table: str = "/proc/self/mountinfo") -> None:
        self._root = root
        self._seen: list[Mount] = []
        self.fd = -1
        """Has POLLPRI, once, when some mount changed; -1 where there is no table."""
        with contextlib.suppress(OSError):
            self.fd = os.open(table, os.O_RDONLY | os.O_CLOEXEC)
        self.look()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def deaf(self) -> str | None:
        """Why inotify does not hear everything here; None where it does."""
        for _, point, kind in self._seen:
            why = why_deaf(kind)
            if why is not None:
                return f"{os.fsdecode(point)}: {why}" if point != self._root else why
        return None

    def look(self) -> bool:
        """Reads the table; whether the mounts of this directory are others than before."""
        if self.fd < 0:
            return False
        before, text = self._seen, b""
        with contextlib.suppress(OSError):
            while part := os.pread(self.fd, 1 << 16, len(text)):
                text += part
        table = parse(text)
        own = _mount_id(self._root)
        inside = self._root.rstrip(b"/") + b"/"
        here = [(number, self._root, kind) for number, _, kind in table if number == own]
        self._seen = here + [mount for mount in table if mount[1].startswith(inside)]
        return before != self._seen


def _mount_id(path: bytes) -> int | None:
    """The mount that a path stands on, as the kernel says it."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as f:
            for line in f:
                if line.startswith(b"mnt_id:"):
                    return int(line[7:])
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    return None
