"""Many trees and one interface: `btfd run`.

Contract: `Service.run` serves until it is told to stop: each tree has a loop and a watcher of its
own, in its own thread; bases and encoder threads are shared. The interface is answered in the
calling thread, which never waits for a tree.
"""

import asyncio
import os
import resource
import signal
import time
from typing import Any

from btfd import __version__
from btfd.api.address import Listener
from btfd.api.methods import Methods
from btfd.api.server import Server
from btfd.bases import Bases
from btfd.config import Settings
from btfd.engine import Core
from btfd.journal import Journal
from btfd.ondemand import OnDemand


class Service:
    """Everything that is served. Its methods are for the loop's thread, `stop` for any."""

    def __init__(self, core: Core, settings: Settings, listener: Listener) -> None:
        self.journal = Journal()
        self.bases = Bases(core)
        self.orders = OnDemand(core, self.bases, settings.threads)
        self._core = core
        self._settings = settings
        self._listener = listener
        self._started = time.time()
        self._methods = Methods(self, settings.threads)
        self._server = Server(self._methods.dispatch)
        self._ending = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        await self._server.start(self._listener.socket)
        await self._ending.wait()
        await self._server.close()
        self._methods.close()
        self._listener.close()
        return 0

    def stop(self) -> None:
        """Ends `run` soon."""
        self._ending.set()

    def status(self) -> dict[str, Any]:
        """The whole service."""
        return {
            "version": __version__,
            "process": os.getpid(),
            "started": round(self._started, 3),
            "generation": self.journal.generation,
            "socket": self._listener.path,
            "resident_bytes": _resident(),
            "connections": self._server.connections,
            "bases": len(self.bases),
            "encoded": self.orders.encoded,
            "unsuitable": self.orders.unsuitable,
            "trees": [],
        }


def _resident() -> int:
    """Bytes of memory in use by this process."""
    with open("/proc/self/statm", "rb") as f:
        return int(f.read().split()[1]) * resource.getpagesize()
