"""Follows one tree: wires watcher, tree, scheduler, work and journal into one loop.

Contract: `run` encodes what is stale, then follows changes until it is told to stop; `once` ends
when nothing is left to do. A module without DWARF is skipped and said, which is no failure unless
nothing else was there. All decisions are taken in the calling thread; encoding runs in a pool
of `jobs` threads, which may be shared with other trees. Every loss of events is healed by
`rewatch` and a stat scan, with a growing pause between scans. Returns 0, or 1 when a module or the
base failed in a run with `once`, or when the watcher's reader died: a deaf daemon must not look
alive. A configuration that allows no BTF ends it too, unless it is `patient`.

What is written by us is known by its stamp, not by time: our own events find nothing stale.

Other threads talk to it through `call`, `wait`, `stop` and nothing else; `hears` and `turns` are
for a dead man's switch.

Cost when idle: one stat of the root and of vmlinux every `TICK` seconds.
"""

import contextlib
import fcntl
import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from btfd import kbuild, leftovers, resolver
from btfd.barrier import Barriers
from btfd.basenews import BaseNews
from btfd.engine import Core
from btfd.errors import Problem
from btfd.journal import Recorder
from btfd.memory import Rest
from btfd.notify import Notifier, Wake
from btfd.signs import Appeared, Changed, Lost, Synced
from btfd.tree import BASE_CHANGED, NEW_LINK, BaseState, BuildTree
from btfd.work import Ours, Work

if TYPE_CHECKING:
    from btfd.watch import Watcher

#: A look at root and vmlinux even without events.
TICK = 30.0
#: Where inotify cannot serve (watch limit, root gone, network), the tree is looked at this often,
#: but looking may take no more than this share of the time.
POLL = 2.0
POLL_SHARE = 0.05
#: vmlinux gets .BTF_ids and tables up to 0.3 s after its .BTF; its bytes must be at rest.
BASE_SETTLE = 0.3
#: Meanwhile, when it has been quiet for so long, it is read and held against the one before it.
BASE_AHEAD = 0.1
#: Pauses between rescans: three at once, then doubling from the first to the last.
RESCANS_AT_ONCE = 3
RESCAN_FIRST = 0.1
RESCAN_LAST = 10.0
#: A quiet time that makes rescans immediate again.
RESCAN_CALM = 30.0
#: A loop that was not round once in so many seconds hangs. Its longest step is a look at every
#: directory of a tree on a slow network, or a vmlinux that it encodes itself.
STUCK = 300.0
#: What a tree says of itself, beside its modules.
_FACTS = frozenset(
    (kbuild.BASE, kbuild.MODULES_ORDER, kbuild.AUTO_CONF, kbuild.RELEASE, resolver.PLACE)
)
_NAMES = frozenset(os.fsencode(os.path.basename(path)) for path in _FACTS)

_T = TypeVar("_T")


def interesting(name: bytes) -> bool:
    """Whether a file of this name can matter to a build tree."""
    return name.endswith(b".ko") or name in _NAMES


class Daemon:
    """One tree, followed."""

    def __init__(
        self,
        tree: BuildTree,
        core: Core,
        journal: Recorder,
        *,
        jobs: int = 1,
        notifier: Notifier | None = None,
        ours: Ours | None = None,
        patient: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.tree = tree
        self.journal = journal
        self.wake = Wake()
        self.work = Work(
            tree, core, journal, self.wake.set, jobs=jobs, ours=ours, progress=progress
        )
        self.watcher: Watcher | None = None
        self.blocked: kbuild.Gate | None = None
        """What of the configuration makes BTF impossible."""
        self.base_problem: Problem | None = None
        """Why there is no usable base."""
        self.losses = 0
        self.last_loss: str | None = None
        self._base_news = BaseNews(core, journal)
        self._notifier = notifier
        self._patient = patient
        self._barriers = Barriers(tree.find)
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._stopping = False
        self._ended = False
        self._following = False
        self._base_due: float | None = None
        self._base_ahead: float | None = None
        self._base_ready = False
        self._rescan_due: float | None = None
        self._rescans = 0
        self._last_rescan = float("-inf")
        self._poll_pause = POLL
        self._polled: str | None = None
        self._next_ping = float("-inf")
        self._beat: Future[float] | None = None
        self._beat_asked = 0.0
        self._rest = Rest()
        self._gates: list[kbuild.Gate] = []
        self._ignored: set[str] = set()
        self._listed: frozenset[str] | None = None

    # From other threads

    def stop(self) -> None:
        """Ends `run` soon; running encodes are finished, their results kept."""
        self._stopping = True
        self.wake.set()

    def call(self, what: Callable[[], _T]) -> "Future[_T]":
        """Runs `what` in the loop's thread."""
        future: Future[_T] = Future()
        self._calls.put((what, future))
        if self._ended:
            self._abandon()
        else:
            self.wake.set()
        return future

    def wait(self, modules: Sequence[str] | None = None) -> "Future[list[str]]":
        """Done when all that was written before is encoded; gives the modules that failed."""
        future: Future[list[str]] = Future()

        def begin() -> None:
            token = self._barriers.add(modules, future)
            if self.watcher is None:
                self._barriers.synced(token)
            else:
                self.watcher.sync(token)

        def told(begun: "Future[None]") -> None:
            error = begun.exception()
            if error is not None:
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(error)

        self.call(begin).add_done_callback(told)
        return future

    def drop_caches(self) -> "Future[None]":
        """Lets go of what can be made again, soon. From any thread."""

        def release() -> None:
            self.tree.release_base()
            self.work.release()

        return self.call(release)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping

    # The loop

    def run(self, *, once: bool = False, pool: Executor | None = None) -> int:
        """Until the end, see above. `pool`: encoder threads to use instead of own ones."""
        own = None
        self.work.once = once
        self._following = not once
        try:
            with _alone(self.tree.root):
                if not self._judge_gates() and not (self._patient and self._following):
                    return 1
                if pool is None:
                    pool = own = ThreadPoolExecutor(self.work.jobs, "btfd-encode")
                if self._following:
                    self._start_watching()
                return self._loop(pool, once)
        finally:
            if self._notifier is not None:
                self._notifier.stopping()
            self.work.scheduler.overtake()
            if self.watcher is not None:
                self.watcher.stop()
            if own is not None:
                own.shutdown()
            self.tree.save()
            self._ended = True
            self._abandon()

    def _loop(self, pool: Executor, once: bool) -> int:
        scheduler = self.work.scheduler
        self._sweep()
        self._look_at_base(scan=False)
        self._scan("start")
        stale = len(scheduler)
        self.journal.record("ready", self.tree.root, stale=stale, digest=self.tree.digest)
        ping = None
        if self._notifier is not None:
            self._notifier.ready()
            ping = self._notifier.interval
        if self._following and self._base_ready:
            self.work.remember()
        while not self._stopping:
            now = time.monotonic()
            # Outcomes first: the echoes of our own writes are known by them.
            self.work.collect(now)
            self._take_events(now)
            self._take_calls()
            self._heal(now)
            self._dispatch(pool, now)
            self._answer()
            if scheduler.idle and self._base_due is None:
                self.tree.release_old_base()
            if self.work.at_rest(now):
                self._base_news.tell()
            if self._following:  # else the process ends, and gives all back
                self._rest.look(scheduler.idle, self.work.done, now)
            if self.watcher is not None and not self.watcher.alive:
                reason = self.watcher.dead or "the reader ended"
                self.journal.record("deaf", self.tree.root, reason=reason)
                return 1
            if once and scheduler.idle and self._base_due is None:
                break
            if once and not self._base_ready and self._base_due is None:
                break
            if ping is not None and now >= self._next_ping:
                self._next_ping = now + ping
                if self._notifier is not None and self.hears():
                    self._notifier.alive()
            self.wake.wait(self._sleep(time.monotonic(), ping))
        self._drain()
        failures = set(self.work.bad()) if once else set()
        for module in sorted(failures - self.work.failed):
            self.journal.record(
                "failed", module, because="tried before", reason=self.tree.failure(module)
            )
        self.journal.record("stopped", self.tree.root, failed=len(failures))
        return 1 if once and (failures or self.tree.barren or not self._base_ready) else 0

    def _sweep(self) -> None:
        """Removes what killed installs have left; nobody else installs here now."""
        for found in leftovers.sweep(self.tree.folders()):
            path = self.tree.relative(found.path)
            if found.kept is None:
                self.journal.record("cleaned", path, reason="left by an install that was killed")
            else:
                self.journal.record("leftover", path, reason=found.kept, hint=found.hint)

    def hears(self) -> bool:
        """Whether events can still arrive, as far as can be told."""
        return self.watcher is None or self.watcher.hears()

    def turns(self) -> bool:
        """Whether the loop went round in the last `STUCK` seconds; has it go round."""
        now = time.monotonic()
        if self._beat is None or self._beat.done():
            self._beat, self._beat_asked = self.call(time.monotonic), now
        return now - self._beat_asked < STUCK

    def _take_calls(self) -> None:
        while True:
            try:
                what, future = self._calls.get_nowait()
            except queue.Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(what())
            except Exception as e:
                future.set_exception(e)

    def _abandon(self) -> None:
        """Nobody is there any more to answer."""
        problem = Problem("the tree is not followed any more", path=self.tree.root)
        with contextlib.suppress(queue.Empty):
            while True:
                _, future = self._calls.get_nowait()
                if future.set_running_or_notify_cancel():
                    future.set_exception(problem)
        self._barriers.abandon(problem)

    def _answer(self) -> None:
        """Tells those who wait, if there is something to tell."""
        if self._barriers:
            settled = self._base_due is None and self._rescan_due is None
            pending = self.work.pending() if self._base_ready else set[str]()
            self._barriers.look(settled, pending, self._bad)

    def _bad(self, modules: Sequence[str] | None) -> list[str]:
        """Modules without right BTF; where none can be made, all that are stale."""
        if self._base_ready and self.blocked is None:
            return self.work.bad(modules)
        known = self.tree.modules() if modules is None else modules
        return [m for m in known if self.tree.is_stale(m)]

    def _judge_gates(self) -> bool:
        """Says what of the configuration is in the way; whether it can be done at all."""
        gates = self.tree.gates()
        for gate in gates:
            if gate not in self._gates:
                self.journal.record(
                    "gate",
                    None,
                    symbol=gate.symbol,
                    reason=gate.reason,
                    hint=gate.hint,
                    fatal=gate.fatal,
                )
        self._gates = gates
        self.blocked = next((gate for gate in gates if gate.fatal), None)
        return self.blocked is None

    def _sleep(self, now: float, ping: float | None) -> float:
        limit = self._poll_pause if self._must_poll() else TICK
        times = [self._base_due, self._base_ahead, self._rescan_due]
        if self.work.scheduler.idle:
            times.append(self._rest.due)
        if ping is not None:
            times.append(self._next_ping)
        if self._base_ready and self._base_due is None and self.blocked is None:
            times.append(self.work.next_due())
        return min([limit, *(max(0.0, t - now) for t in times if t is not None)])

    # What happened

    def _start_watching(self) -> None:
        from btfd.watch import Watcher  # which a run with `once` does without

        self.watcher = Watcher(self.tree.root, interesting, self.wake.set)
        self.watcher.start()
        self._judge_watching()

    def _must_poll(self) -> bool:
        """Whether inotify cannot serve; a run with `once` follows nothing at all."""
        return self.watcher is not None and self.watcher.polled is not None

    def _judge_watching(self) -> None:
        """Says when events stop being enough, and when they are enough again."""
        assert self.watcher is not None
        reason = self.watcher.polled
        if reason == self._polled:
            return
        if reason is None:
            self.journal.record("healed", self.tree.root, reason=self._polled)
        else:
            self.journal.record(
                "degraded",
                self.tree.root,
                reason=f"{reason}; the tree is polled",
                hint=self.watcher.advice(),
            )
        self._polled = reason

    def _take_events(self, now: float) -> None:
        if self.watcher is None:
            return
        for event in self.watcher.take():
            match event:
                case Changed(path):
                    self._changed(path, now)
                case Appeared(path):
                    self._look_below(path, now)
                case Lost(reason, path):
                    self.losses += 1
                    self.last_loss = reason
                    self.journal.record("lost", path, reason=reason)
                    self._want_rescan(now)
                case Synced(token):
                    self._barriers.synced(token)

    def _changed(self, path: str, now: float) -> None:
        name = os.path.basename(path)
        if path == self.tree.base_path:
            self._base_due, self._base_ahead = now + BASE_SETTLE, now + BASE_AHEAD
        elif name.endswith(".ko"):
            self._look_at(self.tree.relative(path), now)
        elif self.tree.relative(path) in _FACTS:
            self._want_rescan(now)

    def _look_at(self, module: str, now: float) -> None:
        if self._listed is not None and module not in self._listed:
            self._ignore(module, "not in modules.order")
        elif self.tree.is_known(module):
            pass  # our own write; if it is stale all the same, a scan has found it
        elif not os.path.lexists(self.tree.path_of(module)):
            self.work.scheduler.forget(module)
            self.work.forget(module)
        elif not self.tree.holds(module):
            self._ignore(module, "a link to a file outside the tree")
        else:
            # Whether it is stale is decided when it has settled.
            self.work.scheduler.touch(module, NEW_LINK, now)

    def _ignore(self, module: str, reason: str) -> None:
        if module not in self._ignored:
            self._ignored.add(module)
            self.journal.record("ignored", module, reason=reason)

    def _look_below(self, folder: str, now: float) -> None:
        for inside, _, files in os.walk(folder):
            for name in files:
                if interesting(os.fsencode(name)):
                    self._changed(os.path.join(inside, name), now)

    # Looking again

    def _want_rescan(self, now: float) -> None:
        if self._rescan_due is not None:
            return
        if now - self._last_rescan > RESCAN_CALM:
            self._rescans = 0
        late = self._rescans - RESCANS_AT_ONCE
        pause = 0.0 if late < 0 else min(RESCAN_FIRST * 2.0**late, RESCAN_LAST)
        self._rescans += 1
        self._rescan_due = now + pause

    def _heal(self, now: float) -> None:
        if self._must_poll() and now - self._last_rescan >= self._poll_pause:
            self._rescan_due = now
        if self.watcher is not None:
            self.watcher.check_root()
        if self._rescan_due is not None and self._rescan_due <= now:
            self._rescan_due = None
            self._last_rescan = now
            if self.watcher is not None:
                self.watcher.rewatch()
                self._judge_watching()
            self.tree.reread_config()
            self._judge_gates()
            self._look_at_base(scan=False)
            self._scan("rescan")
            self._poll_pause = max(POLL, (time.monotonic() - now) / POLL_SHARE)
        elif self._base_due is not None and self._base_due <= now:
            self._look_at_base()
        elif self._base_due is None and not self.tree.base_unchanged:
            # A change that no event told.
            self._base_due, self._base_ahead = now + BASE_SETTLE, now + BASE_AHEAD

    def _scan(self, why: str) -> None:
        self._listed = self.tree.listed()
        if not self._base_ready or self.blocked is not None:
            return
        found = self.tree.stale()
        for item in found:
            # Only the base has changed: what is kept of many modules is moved in one go.
            crowd = item.reason == BASE_CHANGED and self.tree.movable(item.path) is not None
            self.work.scheduler.find(item.path, item.reason, crowd=crowd)
        if found:
            self.journal.record("stale", self.tree.root, modules=len(found), because=why)

    def _look_at_base(self, *, scan: bool = True) -> None:
        self._base_due = None
        before = self.tree.digest
        news = self.tree.look_at_base()
        said = self.base_problem.cause if self.base_problem is not None else None
        self.base_problem = news.problem
        now = time.monotonic()
        match news.state:
            case BaseState.UNTOUCHED:
                self._base_ready = True
            case BaseState.WRITING:
                self._base_ready = False
                self._base_due = now + BASE_SETTLE
            case BaseState.SAME:
                self._base_ready = True
                self.journal.record("base-same", self.tree.base_path, digest=self.tree.digest)
            case BaseState.CHANGED:
                self._base_ready = True
                overtaken = self.work.scheduler.overtake()
                kind = "base-changed" if before else "base-found"
                self.journal.record(
                    kind, self.tree.base_path, digest=self.tree.digest, overtaken=overtaken
                )
                replaced = self.tree.take_replaced()
                if replaced is not None and self._following:
                    self._base_news.changed(self.tree.base_path, replaced.base, self.tree.base.base)
            case BaseState.MISSING | BaseState.UNUSABLE:
                self._base_ready = False
                assert news.problem is not None
                hint = self._base_hint() or news.problem.hint
                news.problem.hint = hint
                if said != news.problem.cause:
                    self.journal.record(
                        "base-missing", self.tree.base_path, reason=news.problem.cause, hint=hint
                    )
                return
        if scan and news.state in (BaseState.SAME, BaseState.CHANGED):
            self._scan("base")

    def _base_hint(self) -> str | None:
        if self.tree.encode_base or not self.tree.base_can_be_made():
            return None
        return "build with CONFIG_DEBUG_INFO_BTF=y, or let us make it with --encode-base"

    # Work

    def rescan(self) -> None:
        """Looks at everything again, now. In the loop's thread."""
        self._rescan_due = time.monotonic()

    def _dispatch(self, pool: Executor, now: float) -> None:
        if self._base_ahead is not None and self._base_ahead <= now:
            self._base_ahead = None
            pool.submit(self.tree.prepare_base())
        if not self._base_ready or self._base_due is not None or self.blocked is not None:
            return
        if not self.work.dispatch(pool, now):
            self._base_due = now + BASE_SETTLE

    def _drain(self) -> None:
        """Waits for what is running, so that its results are remembered."""
        while self.work.scheduler.occupied:
            self.wake.wait(1.0)
            self.work.collect(time.monotonic())


@contextlib.contextmanager
def _alone(root: str) -> Iterator[None]:
    """Keeps other btfds from following the same tree; two would undo each other's work."""
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # not there yet
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Problem(
            "another btfd follows this tree",
            path=root,
            hint="`btfd status` shows a service, `btfd wait` waits for it",
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(fd)
