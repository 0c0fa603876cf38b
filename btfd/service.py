"""Many trees and one interface: `btfd run`.

Contract: `Service.run` serves until it is told to stop. Each tree has a loop, a watcher and an
inotify descriptor of its own, in its own thread (`Follower`); bases and encoder threads are shared.
The trees are those of the configuration and those added over the interface, which are remembered.
`reload` takes what the configuration says now, and drops no base. The interface is answered in
the calling thread, which never waits for a tree; all methods but `stop` belong to that thread.

Cost: a tree takes two threads and what its watches and records take, 1 kB a directory and 1 kB a
module; a base 15 MB, once for all trees with the same.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from btfd import __version__, config, roster
from btfd.api.address import Listener
from btfd.api.methods import Methods
from btfd.api.server import Server
from btfd.bases import Bases
from btfd.config import Settings, TreeSettings
from btfd.engine import Core
from btfd.errors import Problem, UnknownTree
from btfd.follow import Follower, Shared
from btfd.journal import Event, Journal
from btfd.memory import bound_arenas, resident, trim
from btfd.notify import Notifier
from btfd.ondemand import OnDemand
from btfd.pool import Pool
from btfd.pressure import Pressure

#: A tree that is busy for longer is told about as it was last seen.
BUSY = 2.0
_CONFIGURED = "configuration"
_ADDED = "added"
_BASE_NEWS = frozenset({"base-same", "base-changed", "base-found", "base-missing"})
#: What a tree is recognised by, configured or not.
_SIGNS = ("vmlinux", "include/config/auto.conf", ".config", "Kconfig")


class Service:
    """Everything that is served."""

    def __init__(
        self,
        core: Core,
        listener: Listener,
        load: Callable[[], Settings],
        notifier: Notifier | None = None,
    ) -> None:
        self.journal = Journal()
        self.bases = Bases(core)
        self.followers: dict[str, Follower] = {}
        self._load = load
        self._settings = settings = load()
        self._listener = listener
        self._notifier = notifier
        self._started = time.time()
        self._roster = roster.default_path()
        bound_arenas(settings.threads)
        self._pool = Pool(settings.threads, "btfd-encode")
        self.orders = OnDemand(core, self.bases, settings.threads)
        self._shared = Shared(core, self.bases, self._pool, self.journal, self.orders.made)
        self._methods = Methods(self, settings.threads)
        self._server = Server(self._methods.dispatch)
        self._seen: dict[str, dict[str, Any]] = {}
        self._news = asyncio.Event()
        self._news_due = False
        self._ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.TimerHandle | None = None
        self.journal.subscribe(self._happened)

    # Life

    async def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._ending.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        await self._server.start(self._listener.socket)
        for tree, origin in self._wanted().values():
            self._follow(tree, origin)
        if self._notifier is not None:
            self._notifier.ready()
        pressure = Pressure(self._pressed)
        pings = self._loop.create_task(self._ping())
        self._status_due()
        await self._ending.wait()
        if self._notifier is not None:
            self._notifier.stopping()
        pings.cancel()
        pressure.close()
        await self._server.close()
        await self._leave(list(self.followers))
        self._methods.close()
        self._pool.shutdown()
        self._listener.close()
        return 0

    def stop(self) -> None:
        """Ends `run` soon. From any thread."""
        self._loop.call_soon_threadsafe(self._ending.set)

    async def _ping(self) -> None:
        """Tells systemd that we live, as long as every tree is heard and its loop goes round."""
        interval = None if self._notifier is None else self._notifier.interval
        while self._notifier is not None and interval is not None:
            living = [follower.lives() for follower in self.followers.values()]
            if all(living):
                self._notifier.alive()
            await asyncio.sleep(interval)

    def _hang_up(self) -> None:
        try:
            self.reload()
        except Problem as e:
            self.journal.record("not-reloaded", e.path, reason=e.cause, hint=e.hint)

    def _pressed(self) -> None:
        asyncio.run_coroutine_threadsafe(self.drop_caches(), self._loop)

    async def drop_caches(self) -> None:
        """Answers memory pressure: bases are dropped, and loaded again by whoever needs one."""
        before = resident()
        daemons = [f.daemon for f in self.followers.values()]
        dropping = [asyncio.wrap_future(d.drop_caches()) for d in daemons if d is not None]
        if dropping:
            await asyncio.wait(dropping, timeout=BUSY)
        self.bases.clear()
        trim()
        self.journal.record("memory-pressure", None, before=before, after=resident())

    # Trees

    def _wanted(self) -> dict[str, tuple[TreeSettings, str]]:
        """Every tree that should be served, and who said so, by its root."""
        trees = {tree.root: (tree, _ADDED) for tree in roster.read(self._roster)}
        for tree in self._settings.trees:
            root = os.path.realpath(tree.root)
            trees[root] = (tree._replace(root=root), _CONFIGURED)
        return trees

    def _follow(self, tree: TreeSettings, origin: str) -> None:
        follower = Follower(tree, origin, self._shared, self._settings)
        self.followers[tree.root] = follower
        self.journal.of(tree.root).record("tree-added", tree.root, origin=origin)
        follower.start()

    async def _leave(self, roots: Iterable[str]) -> None:
        leaving = [self.followers.pop(root) for root in roots]
        for follower in leaving:
            follower.stop()
        for follower in leaving:
            await asyncio.to_thread(follower.join)
            self._seen.pop(follower.root, None)
            self.journal.of(follower.root).record("tree-removed", follower.root)

    def add(self, root: str, use: str = "", base: str = "") -> tuple[str, bool]:
        """Serves a tree from now on, and remembers it; its real path, and whether it is new."""
        if not os.path.isdir(root):
            raise UnknownTree("no such directory", path=root)
        root = os.path.realpath(root)
        if not base and not any(os.path.exists(os.path.join(root, sign)) for sign in _SIGNS):
            raise UnknownTree(
                "not a kernel build tree",
                path=root,
                hint="give the O= directory of a kernel; external modules need --base",
            )
        known = self.followers.get(root)
        if known is None:
            self._follow(TreeSettings(root, use, base), _ADDED)
        elif use or base:
            tree = TreeSettings(root, use or known.tree.use, base or known.tree.base)
            known.configure(self._settings, tree)
        if known is None or known.origin == _ADDED:
            self._remember()
        return root, known is None

    async def remove(self, root: str) -> str:
        """Serves a tree no longer."""
        follower = self.holding(root)
        await self._leave([follower.root])
        self._remember()
        return follower.root

    def _remember(self) -> None:
        added = [f.tree for f in self.followers.values() if f.origin == _ADDED]
        roster.write(self._roster, added)

    def holding(self, path: str) -> Follower:
        """The innermost tree that a path lies in. Raises UnknownTree."""
        real = os.path.realpath(path)
        inside = [r for r in self.followers if real == r or real.startswith(r.rstrip("/") + "/")]
        if not inside:
            raise UnknownTree(
                "in no tree that is served", path=path, hint="`btfd add TREE` adds one"
            )
        return self.followers[max(inside, key=len)]

    def chosen(self, tree: str | None) -> list[Follower]:
        """The tree that holds a path, or all."""
        return list(self.followers.values()) if tree is None else [self.holding(tree)]

    # Configuration

    def reload(self) -> list[str]:
        """Applies the configuration as it is now; gives the keys that changed. Raises Problem."""
        if self._notifier is None:
            return self._reload()
        self._notifier.reloading()
        try:
            return self._reload()
        finally:
            self._notifier.ready()

    def _reload(self) -> list[str]:
        before, after = self._settings, self._load()
        keys = [key for key in after.origins if getattr(before, key) != getattr(after, key)]
        self._settings = after
        if "jobs" in keys:
            self._pool.resize(after.threads)
            self.orders.jobs = after.threads
        wanted = self._wanted()
        for root, (tree, origin) in wanted.items():
            known = self.followers.get(root)
            if known is None:
                self._follow(tree, origin)
            else:
                known.origin = origin
                if keys:
                    known.configure(after, tree)
        gone = [r for r, f in self.followers.items() if r not in wanted and f.origin != _ADDED]
        if gone:
            self._leaving = self._loop.create_task(self._leave(gone))
        later = [key for key in keys if key == "cache"]
        self.journal.record("reloaded", changed=keys, with_the_next_start=later)
        return keys

    # What there is to say

    async def status(self, tree: str | None = None) -> dict[str, Any]:
        """The service, and all trees or the one that holds a path."""
        trees = await asyncio.gather(*(self._describe(f) for f in self.chosen(tree)))
        return {
            "version": __version__,
            "process": os.getpid(),
            "started": round(self._started, 3),
            "generation": self.journal.generation,
            "socket": self._listener.path,
            "resident_bytes": resident(),
            "connections": self._server.connections,
            "bases": len(self.bases),
            "encoded": self.orders.encoded,
            "unsuitable": self.orders.unsuitable,
            "trees": trees,
        }

    async def _describe(self, follower: Follower) -> dict[str, Any]:
        try:
            await asyncio.wait_for(follower.arrive(), BUSY)
            asked = asyncio.wrap_future(follower.ask(follower.describe))
            found: dict[str, Any] = await asyncio.wait_for(asked, BUSY)
        except (Problem, TimeoutError):
            outline = follower.outline()
            seen = self._seen.get(follower.root, outline)
            return seen if follower.problem is None else outline
        self._seen[follower.root] = found
        return found

    # News

    def _happened(self, event: Event) -> None:
        """In any thread: wakes the streams, once for many events, and trees over the same base."""
        if event.kind in _BASE_NEWS and event.path is not None:
            for follower in list(self.followers.values()):
                if follower.root != event.fields.get("tree"):
                    follower.nudge(event.path)
        if not self._news_due:
            self._news_due = True
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._news_due = False
        self._status_due()
        self._news.set()
        self._news = asyncio.Event()

    def _status_due(self) -> None:
        """Tells systemd how things are, at most once a second."""
        if self._notifier is not None and self._status is None:
            self._status = self._loop.call_later(1.0, self._tell_status)

    def _tell_status(self) -> None:
        self._status = None
        if self._notifier is not None:
            self._notifier.status(summary(self.followers.values()))

    async def news(self, patience: float) -> None:
        """Returns when something happened, or after `patience` seconds."""
        try:
            await asyncio.wait_for(self._news.wait(), patience)
        except TimeoutError:
            return


def start(core: Core, listener: Listener, show: Callable[[Event], None]) -> int:
    """Runs a service in this thread until it ends. `show` is told every event, in any thread."""

    def told(event: Event) -> None:
        with contextlib.suppress(OSError):  # whoever read our output is gone; the trees are not
            show(event)

    async def serve() -> int:
        service = Service(core, listener, lambda: config.load({}), Notifier())
        service.journal.subscribe(told)
        return await service.run()

    return asyncio.run(serve())


def summary(followers: Iterable[Follower]) -> str:
    """All trees in one line, the worst first."""
    trees = list(followers)
    daemons = [f.daemon for f in trees if f.daemon is not None]
    bad = sum(len(d.work.failed) for d in daemons)
    queued = sum(len(d.work.scheduler) + d.work.scheduler.running for d in daemons)
    polled = sum(d.watcher is not None and d.watcher.polled is not None for d in daemons)
    parts = [
        f"{count} {word}"
        for count, word in (
            (len(trees) - len(daemons), "not followed"),
            (polled, "polled"),
            (bad, "modules failed"),
            (queued, "modules to encode"),
        )
        if count
    ]
    count = f"{len(trees)} tree" + ("s" if len(trees) != 1 else "")
    return f"{count}: {', '.join(parts) or 'everything is right'}"
