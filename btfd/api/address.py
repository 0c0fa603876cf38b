"""The service's end of the socket: made safely, or taken over from systemd.

Contract: `listen` gives a listening socket that nobody else can reach or replace: its directory
belongs to us, is no symbolic link and nobody else can write to it; one that is missing is made with
mode 0700. A socket that a dead service left is replaced; where one answers, the start is refused.
A lock beside the socket, held until the process ends, decides between two that start at once.
"""

import fcntl
import os
import socket
import stat
from dataclasses import dataclass

from btfd.errors import Problem, from_os

#: The kernel caps it at net.core.somaxconn; a full queue makes clients wait.
BACKLOG = 4096
_FIRST_PASSED = 3


@dataclass(slots=True)
class Listener:
    """A listening socket. `close` takes the name away again where we made it."""

    socket: socket.socket
    path: str
    lock: int | None = None

    def close(self) -> None:
        self.socket.close()
        if self.lock is not None:
            if os.path.lexists(self.path):
                os.unlink(self.path)
            os.close(self.lock)
            self.lock = None


def listen(path: str) -> Listener:
    """The socket of systemd where there is one, else a new one at `path`."""
    passed = from_systemd()
    if passed is not None:
        return passed
    own_directory(os.path.dirname(os.path.abspath(path)))
    lock = _lock(path)
    try:
        if os.path.lexists(path):
            _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except OSError as e:
        os.close(lock)
        if str(e) == "AF_UNIX path too long":
            raise Problem("too long for the name of a socket", path=path) from e
        raise from_os(e, path) from e
    except Problem:
        os.close(lock)
        raise
    return Listener(listener, path, lock)


def from_systemd() -> Listener | None:
    """The first socket passed by socket activation."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal() or count == "0":
        return None
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    os.set_inheritable(_FIRST_PASSED, False)
    try:
        passed = socket.socket(fileno=_FIRST_PASSED)
        listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as e:
        raise Problem(f"systemd passed no socket: {e.strerror}") from e
    if passed.family != socket.AF_UNIX or passed.type != socket.SOCK_STREAM or not listening:
        raise Problem(
            "systemd passed a socket of another kind",
            hint="the unit wants ListenStream= with a path",
        )
    return Listener(passed, str(passed.getsockname()))


def own_directory(folder: str) -> None:
    """Makes sure that a directory is ours and nobody else can change it."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        about = os.lstat(folder)
    except FileExistsError as e:
        raise Problem("not a directory", path=folder) from e
    except OSError as e:
        raise from_os(e, folder) from e
    if stat.S_ISLNK(about.st_mode):
        raise Problem("a symbolic link, and others might change where it leads", path=folder)
    if about.st_uid != os.geteuid():
        raise Problem("belongs to another user", path=folder, hint="set BTFD_SOCKET")
    if about.st_mode & 0o022:
        raise Problem(
            "others can write to the socket's directory",
            path=folder,
            hint=f"chmod 0700 {folder}",
        )


def _lock(path: str) -> int:
    try:
        fd = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        raise from_os(e, path + ".lock") from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(fd)
        raise _running(path) from e
    return fd


def _running(path: str) -> Problem:
    return Problem(
        "a service is running here already",
        path=path,
        hint="`btfd status` shows it, `btfd add TREE` gives it one more tree, `btfd stop` ends it",
    )


def _clear(path: str) -> None:
    """Takes away what a dead service left; refuses anything else."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise Problem("is there, and no socket", path=path, hint="move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(path)
        except TimeoutError:
            raise _running(path) from None
        else:
            raise _running(path)
