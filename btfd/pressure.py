"""When the machine runs short of memory: give back what can be made again.

Contract: systemd (254 or newer) names a file to watch in $MEMORY_PRESSURE_WATCH and what to write
into it first in $MEMORY_PRESSURE_WRITE. `relieve` is called, from a thread of its own, each time
the kernel says that tasks of this service wait for memory, at most once in `PAUSE` seconds. Without
the variable nothing happens. https://systemd.io/MEMORY_PRESSURE/

Cost: a thread that sleeps in poll(2); no thread where there is nothing to watch.
"""

import base64
import binascii
import os
import select
import socket
import stat
import threading
from collections.abc import Callable

PAUSE = 5.0


class Pressure:
    """Calls `relieve` under memory pressure, until `close`."""

    def __init__(self, relieve: Callable[[], None], pause: float = PAUSE) -> None:
        self._relieve = relieve
        self._pause = pause
        self._ending = threading.Event()
        self._end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        watched = _open()
        self._thread: threading.Thread | None = None
        if watched is not None:
            self._thread = threading.Thread(
                target=self._run, args=watched, name="btfd-pressure", daemon=True
            )
            self._thread.start()

    @property
    def watching(self) -> bool:
        """Whether there is anything to watch."""
        return self._thread is not None

    def close(self) -> None:
        self._ending.set()
        os.eventfd_write(self._end, 1)
        if self._thread is not None:
            self._thread.join()
        os.close(self._end)

    def _run(self, fd: int, mask: int) -> None:
        poll = select.poll()
        poll.register(fd, mask)
        poll.register(self._end, select.POLLIN)
        try:
            while not self._ending.is_set():
                ready = dict(poll.poll()).get(fd, 0)
                if ready & (select.POLLERR | select.POLLHUP | select.POLLNVAL) and not (
                    ready & mask
                ):
                    return  # the control group is gone
                if ready & mask:
                    if mask == select.POLLIN and not os.read(fd, 4096):
                        return
                    self._relieve()
                    self._ending.wait(self._pause)
        finally:
            os.close(fd)


def _open() -> tuple[int, int] | None:
    """The descriptor to poll and for what, as systemd wants it."""
    path = os.environ.get("MEMORY_PRESSURE_WATCH", "")
    if not path or path == os.devnull:
        return None
    fd = -1
    try:
        words = base64.b64decode(os.environ.get("MEMORY_PRESSURE_WRITE", ""), validate=True)
        kind = os.stat(path).st_mode
        if stat.S_ISSOCK(kind):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.connect(path)
                fd = link.detach()
        else:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        if words:
            os.write(fd, words)
        return fd, select.POLLPRI if stat.S_ISREG(kind) else select.POLLIN
    except (OSError, binascii.Error):
        if fd >= 0:
            os.close(fd)
        return None
