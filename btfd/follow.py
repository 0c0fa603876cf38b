"""One tree of the service: a loop in a thread of its own, started again when it ends.

Contract: `start` returns at once. Whatever ends the loop (a reader that died, a problem, a bug) is
recorded, and the loop starts anew after a pause that grows from `FIRST` to `LAST` seconds; only
`stop` ends it for good. `tell` answers in the words of io.btfd, from any thread.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from btfd import opening, report
from btfd.bases import Bases
from btfd.config import Settings, TreeSettings
from btfd.daemon import Daemon
from btfd.engine import Core
from btfd.errors import Problem
from btfd.journal import Journal
from btfd.opening import opened
from btfd.report import ModuleReport
from btfd.work import Ours

FIRST = 1.0
LAST = 60.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all trees of a service have in common."""

    core: Core
    bases: Bases
    pool: Executor
    journal: Journal
    ours: Ours


class Follower:
    """Follows one tree. `origin`: where the wish to do so came from."""

    def __init__(self, tree: TreeSettings, origin: str, shared: Shared, settings: Settings) -> None:
        self.tree = tree
        self.root = root = tree.root
        self.origin = origin
        self.daemon: Daemon | None = None
        self.problem: Problem | None = None
        """Why it is not followed, or was not before."""
        self._shared = shared
        self._settings = settings
        self._journal = shared.journal.of(root)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"btfd {root}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends soon; `join` waits for it."""
        self._stopping.set()
        daemon = self.daemon
        if daemon is not None:
            daemon.stop()

    def join(self) -> None:
        self._thread.join()

    def lives(self) -> bool:
        """Whether the loop hears what happens and goes round, or will be started again.

        To be asked by one who asks at intervals, like `Watcher.hears`.
        """
        daemon = self.daemon
        if daemon is None:
            return self._thread.is_alive()
        return daemon.hears() and daemon.turns()

    def configure(self, settings: Settings, tree: TreeSettings) -> None:
        """Takes new settings; everything that they make stale is encoded again."""
        other_base = tree.base != self.tree.base
        self._settings, self.tree = settings, tree
        daemon = self.daemon
        if daemon is None:
            return
        if other_base:
            daemon.stop()  # the next one has it
            return

        def apply() -> None:
            daemon.tree.configure(**opening.options(settings, tree))
            daemon.work.jobs = settings.threads
            daemon.rescan()

        daemon.call(apply)

    async def arrive(self) -> None:
        """Until there is a loop to ask, or a reason why there is none."""
        while self.daemon is None and self.problem is None and not self._stopping.is_set():
            await asyncio.sleep(0.01)

    def nudge(self, base: str) -> None:
        """Something happened to a base: whoever stands on it has a look."""
        daemon = self.daemon
        if daemon is not None and daemon.tree.base_path == base:
            daemon.wake.set()

    def ask(self, what: Callable[[Daemon], Any]) -> "Future[Any]":
        """Runs `what` in the loop's thread. Raises Problem where there is no loop."""
        daemon = self._there()
        return daemon.call(lambda: what(daemon))

    def wait(self, names: list[str] | None) -> "Future[list[str]]":
        """See `Daemon.wait`."""
        return self._there().wait(names)

    def _there(self) -> Daemon:
        if self.daemon is None:
            raise self.problem or Problem("not looked at yet", path=self.root)
        return self.daemon

    # The thread

    def _follow(self) -> None:
        pause = FIRST
        while not self._stopping.is_set():
            started = time.monotonic()
            said = self.problem
            try:
                self._once_through()
            except Problem as e:
                self.problem = e
            except Exception as e:
                self.problem = Problem(f"internal error: {e!r}", hint="please report it")
            self.daemon = None
            if self._stopping.is_set():
                return
            problem = self.problem
            if problem is not None and (said is None or said.cause != problem.cause):
                self._journal.record(
                    "not-followed", self.root, reason=problem.cause, hint=problem.hint
                )
            if time.monotonic() - started > LAST:
                pause = FIRST
            self._stopping.wait(pause)
            pause = min(2 * pause, LAST)

    def _once_through(self) -> None:
        settings, shared = self._settings, self._shared
        try:
            with opened(settings, self.tree, shared.core, shared.bases) as (tree, _):
                daemon = Daemon(
                    tree,
                    shared.core,
                    self._journal,
                    jobs=settings.threads,
                    ours=shared.ours,
                    patient=True,
                )
                self.daemon = daemon
                if self._stopping.is_set():
                    return
                self.problem = None
                daemon.run(pool=shared.pool)
                if daemon.watcher is not None and not daemon.watcher.alive and not daemon.stopping:
                    self.problem = Problem("the reader of events died", path=self.root)
        finally:
            self.daemon = None

    # What there is to say

    def describe(self, daemon: Daemon) -> dict[str, Any]:
        """The tree, in the loop's thread."""
        modules = report.of_modules(daemon.tree, daemon.work.passing)
        return {**self.outline(), **report.of_tree(daemon, modules)}

    def outline(self) -> dict[str, Any]:
        """What can be said without asking the loop."""
        problem = self.problem
        return {
            "root": self.root,
            "state": "starting" if problem is None else "deaf",
            "reason": None if problem is None else problem.cause,
            "hint": None if problem is None else problem.hint,
            "use": self.tree.use or self._settings.use,
            "use_origin": "not looked at yet",
            "origin": self.origin,
            "base": None,
            "base_path": "",
            "kernel_release": None,
            "modules": {},
            "queued": 0,
            "running": 0,
            "directories": 0,
            "losses": 0,
            "last_loss": None,
            "warnings": [],
        }


def modules_of(daemon: Daemon, states: list[str] | None) -> list[ModuleReport]:
    """Reports on the modules of a tree, in the loop's thread."""
    found = report.of_modules(daemon.tree, daemon.work.passing)
    return [module for module in found if states is None or module.state in states]
