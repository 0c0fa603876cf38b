"""Word to systemd, and the one thing that a loop can sleep on.

Contract: `Notifier` does nothing without $NOTIFY_SOCKET. Messages are ASCII, because sdnotify drops
a whole datagram silently otherwise, and READY=1 goes alone. What systemd does not take within
`PATIENCE` is lost, instead of holding up the loop that says it. `Wake` may be set from any thread
and from a signal handler. Cost: one eventfd, one datagram a message.
"""

import contextlib
import os
import select
import time
from typing import Any

#: Seconds. Some ten datagrams wait for a reader.
PATIENCE = 1.0


class Notifier:
    """sd_notify, safe to call anywhere."""

    def __init__(self) -> None:
        self._notifier: Any = None
        if os.environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier

            self._notifier = SystemdNotifier()
            if self._notifier.socket is not None:
                self._notifier.socket.settimeout(PATIENCE)

    @property
    def interval(self) -> float | None:
        """Seconds between watchdog pings, a third of what systemd allows; None: it wants none."""
        usec = os.environ.get("WATCHDOG_USEC", "")
        pid = os.environ.get("WATCHDOG_PID", "")
        if self._notifier is None or not usec.isdecimal() or (pid and pid != str(os.getpid())):
            return None
        return int(usec) / 3_000_000

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        """Before a new configuration is taken; `ready` ends it. One datagram, or systemd waits."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> None:
        """One line on how things are, for `systemctl status`."""
        self._send("STATUS=" + text.encode("ascii", "backslashreplace").decode().replace("\n", " "))

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(message)


class Wake:
    """A flag to sleep on, with a descriptor."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)

    def set(self) -> None:
        os.eventfd_write(self.fd, 1)

    def wait(self, timeout: float | None) -> None:
        """Until `set`, at most `timeout` seconds."""
        self._poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Nobody may set it any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()
