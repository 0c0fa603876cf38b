"""Wires watcher, tree, scheduler and journal into one loop: `btfd watch`.

Contract: `run` encodes what is stale, then follows changes until it is told to stop; `once` ends
when nothing is left to do. A module without DWARF is skipped and said, which is no failure unless
nothing else was there. All decisions are taken in the calling thread; encoding runs in a pool
of `jobs` threads. Every loss of events is healed by `rewatch` and a stat scan, with a growing pause
between scans. Returns 0, or 1 when a module or the base failed in a run with `once`, or when the
watcher's reader died: a deaf daemon must not look alive.

What is written by us is known by its stamp, not by time: our own events find nothing stale.

Cost when idle: one stat of the root and of vmlinux every `TICK` seconds.
"""

import os
import queue
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from btfd import kbuild
from btfd.encode import Outcome, Request, encode_file
from btfd.engine import Core
from btfd.errors import Problem
from btfd.journal import Journal
from btfd.notify import Notifier, Wake
from btfd.schedule import Job, Scheduler
from btfd.tree import NEW_LINK, SKIPPED, BaseState, BuildTree
from btfd.watch import Appeared, Changed, Lost, Watcher

#: A look at root and vmlinux even without events.
TICK = 30.0
#: Where inotify cannot serve (watch limit, root gone, network), the tree is looked at this often,
#: but looking may take no more than this share of the time.
POLL = 2.0
POLL_SHARE = 0.05
#: vmlinux gets .BTF_ids and tables up to 0.3 s after its .BTF; its bytes must be at rest.
BASE_SETTLE = 0.3
#: Pauses between rescans: three at once, then doubling from the first to the last.
RESCANS_AT_ONCE = 3
RESCAN_FIRST = 0.1
RESCAN_LAST = 10.0
#: A quiet time that makes rescans immediate again.
RESCAN_CALM = 30.0
#: With `once`: how often a busy file is tried (about 15 s in all).
ATTEMPTS_ONCE = 12

_ROOM = frozenset({b"vmlinux", b"modules.order", b"auto.conf"})


def interesting(name: bytes) -> bool:
    """Whether a file of this name can matter to a build tree."""
    return name.endswith(b".ko") or name in _ROOM


@dataclass(slots=True)
class _Done:
    job: Job
    outcome: Outcome
    digest: str


class Daemon:
    """One tree, served. `stop` may be called from any thread or signal handler."""

    def __init__(
        self,
        tree: BuildTree,
        core: Core,
        journal: Journal,
        *,
        jobs: int = 1,
        notifier: Notifier | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.tree = tree
        self.journal = journal
        self.wake = Wake()
        self.scheduler = Scheduler()
        self.watcher: Watcher | None = None
        self._core = core
        self._jobs = max(1, jobs)
        self._notifier = notifier or Notifier()
        self._progress = progress
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._stopping = False
        self._following = False
        self._base_due: float | None = None
        self._base_ready = False
        self._base_said: str | None = None
        self._rescan_due: float | None = None
        self._rescans = 0
        self._last_rescan = float("-inf")
        self._poll_pause = POLL
        self._polled: str | None = None
        self._next_ping = float("-inf")
        self._failed: set[str] = set()
        self._finished = 0
        self._ignored: set[str] = set()
        self._listed: frozenset[str] | None = None

    def stop(self) -> None:
        """Ends `run` soon; running encodes are finished, their results kept."""
        self._stopping = True
        self.wake.set()

    def run(self, *, once: bool = False) -> int:
        """The loop."""
        fatal = [gate for gate in self.tree.gates() if gate.fatal]
        for gate in self.tree.gates():
            self.journal.record(
                "gate",
                None,
                symbol=gate.symbol,
                reason=gate.reason,
                hint=gate.hint,
                fatal=gate.fatal,
            )
        if fatal:
            return 1
        with ThreadPoolExecutor(self._jobs, "btfd-encode") as pool:
            try:
                self._following = not once
                if self._following:
                    self._start_watching()
                return self._loop(pool, once)
            finally:
                self._notifier.stopping()
                self.scheduler.overtake()
                if self.watcher is not None:
                    self.watcher.stop()

    def _loop(self, pool: ThreadPoolExecutor, once: bool) -> int:
        self._look_at_base(scan=False)
        self._scan("start")
        stale = len(self.scheduler)
        self.journal.record("ready", self.tree.root, stale=stale, digest=self.tree.digest)
        self._notifier.ready()
        ping = self._notifier.interval
        while not self._stopping:
            now = time.monotonic()
            self._take_events(now)
            self._take_results(now, once)
            self._heal(now)
            self._dispatch(pool, now)
            if self.watcher is not None and not self.watcher.alive:
                reason = self.watcher.dead or "the reader ended"
                self.journal.record("deaf", self.tree.root, reason=reason)
                return 1
            if once and self.scheduler.idle and self._base_due is None:
                break
            if once and not self._base_ready and self._base_due is None:
                break
            if ping is not None and now >= self._next_ping:
                self._next_ping = now + ping
                if self.watcher is None or self.watcher.hears():
                    self._notifier.alive()
            self.wake.wait(self._sleep(time.monotonic(), ping))
        self._drain(once)
        failures = self._failed | self._known_failures() if once else set()
        for module in sorted(failures - self._failed):
            self.journal.record(
                "failed", module, because="tried before", reason=self.tree.failure(module)
            )
        self.journal.record("stopped", self.tree.root, failed=len(failures))
        return 1 if once and (failures or self.tree.barren or not self._base_ready) else 0

    def _sleep(self, now: float, ping: float | None) -> float:
        limit = self._poll_pause if self._must_poll() else TICK
        times = [self._base_due, self._rescan_due]
        if ping is not None:
            times.append(self._next_ping)
        if self._base_ready and self.scheduler.running < self._jobs:
            times.append(self.scheduler.next_due())
        return min([limit, *(max(0.0, t - now) for t in times if t is not None)])

    # What happened

    def _start_watching(self) -> None:
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
                    self.journal.record("lost", path, reason=reason)
                    self._want_rescan(now)

    def _changed(self, path: str, now: float) -> None:
        name = os.path.basename(path)
        if path == self.tree.base_path:
            self._base_due = now + BASE_SETTLE
        elif name.endswith(".ko"):
            self._look_at(self.tree.relative(path), now)
        elif self.tree.relative(path) in (kbuild.AUTO_CONF, kbuild.MODULES_ORDER):
            self._want_rescan(now)

    def _look_at(self, module: str, now: float) -> None:
        if self._listed is not None and module not in self._listed:
            if module not in self._ignored:
                self._ignored.add(module)
                self.journal.record("ignored", module, reason="not in modules.order")
            return
        if not os.path.exists(os.path.join(self.tree.root, module)):
            self.scheduler.forget(module)
            self._failed.discard(module)
        else:
            # Whether it is stale is decided when it has settled.
            self.scheduler.touch(module, NEW_LINK, now)

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
            self._look_at_base(scan=False)
            self._scan("rescan")
            self._poll_pause = max(POLL, (time.monotonic() - now) / POLL_SHARE)
        elif self._base_due is not None and self._base_due <= now:
            self._look_at_base()
        elif self._base_due is None and not self.tree.base_unchanged:
            self._base_due = now + BASE_SETTLE  # a change that no event told

    def _scan(self, why: str) -> None:
        self._listed = self.tree.listed()
        if not self._base_ready:
            return
        found = self.tree.stale()
        for item in found:
            self.scheduler.find(item.path, item.reason)
        if found:
            self.journal.record("stale", self.tree.root, modules=len(found), because=why)

    def _look_at_base(self, *, scan: bool = True) -> None:
        self._base_due = None
        before = self.tree.digest
        news = self.tree.look_at_base()
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
                overtaken = self.scheduler.overtake()
                kind = "base-changed" if before else "base-found"
                self.journal.record(
                    kind, self.tree.base_path, digest=self.tree.digest, overtaken=overtaken
                )
            case BaseState.MISSING | BaseState.UNUSABLE:
                self._base_ready = False
                assert news.problem is not None
                if self._base_said != news.problem.cause:
                    self.journal.record(
                        "base-missing",
                        self.tree.base_path,
                        reason=news.problem.cause,
                        hint=self._base_hint() or news.problem.hint,
                    )
                self._base_said = news.problem.cause
                return
        self._base_said = None
        if scan and news.state in (BaseState.SAME, BaseState.CHANGED):
            self._scan("base")

    def _base_hint(self) -> str | None:
        if self.tree.encode_base or not self.tree.base_can_be_made():
            return None
        return "build with CONFIG_DEBUG_INFO_BTF=y, or let us make it with --encode-base"

    # Work

    def _dispatch(self, pool: ThreadPoolExecutor, now: float) -> None:
        if not self._base_ready or self._base_due is not None:
            return
        while self.scheduler.running < self._jobs:
            job = self.scheduler.take(now)
            if job is None:
                return
            reason = self.tree.why(job.path)
            if reason is None:
                self.scheduler.finish(job)
                continue
            job.reason = reason
            try:
                request = self.tree.request()
            except Problem:
                self.scheduler.retry(job, now)
                self._base_due = now + BASE_SETTLE
                return
            # One module alone gets every core, a crowd gets one each.
            alone = self.scheduler.running == 1 and not len(self.scheduler)
            threads = self._jobs if alone else 1
            self._submit(pool, job, replace(request, threads=threads))

    def _submit(self, pool: ThreadPoolExecutor, job: Job, request: Request) -> None:
        assert request.base is not None
        digest = request.base.base.digest
        path = os.path.join(self.tree.root, job.path)
        earlier = self.tree.earlier(job.path)

        def work() -> Outcome:
            return encode_file(
                self._core, path, request, wanted=lambda: job.wanted, earlier=earlier
            )

        def finished(future: Future[Outcome]) -> None:
            error = future.exception()
            outcome = (
                future.result()
                if error is None
                else Outcome(path, "failed", f"internal error: {error!r}", "please report it")
            )
            self._done.put(_Done(job, outcome, digest))
            self.wake.set()

        pool.submit(work).add_done_callback(finished)

    def _take_results(self, now: float, once: bool) -> None:
        while True:
            try:
                done = self._done.get_nowait()
            except queue.Empty:
                return
            self._finish(done, now, once)

    def _finish(self, done: _Done, now: float, once: bool) -> None:
        job, outcome = done.job, done.outcome
        self.tree.record(job.path, outcome, done.digest)
        patient = not once or job.attempts < ATTEMPTS_ONCE
        if outcome.status == "busy" and job.wanted and patient:
            self.scheduler.retry(job, now)
            return
        self.scheduler.finish(job)
        if outcome.status == "superseded" and job.wanted:
            self.scheduler.touch(job.path, NEW_LINK, now)
            return
        if outcome.status == "dropped" or not job.wanted:
            return
        self._finished += 1
        self._failed.discard(job.path)
        if not outcome.good and not outcome.bare:
            self._failed.add(job.path)
        self.journal.record(
            SKIPPED if outcome.bare else outcome.status if outcome.good else "failed",
            job.path,
            because=job.reason,
            reason=outcome.reason,
            hint=outcome.hint,
            types=outcome.types,
            split_bytes=outcome.size,
            milliseconds={k: round(v, 3) for k, v in outcome.stages.items()},
            warnings=list(outcome.warnings),
        )
        self._progress(
            self._finished, self._finished + self.scheduler.running + len(self.scheduler)
        )

    def _drain(self, once: bool) -> None:
        """Waits for what is running, so that its results are remembered."""
        while self.scheduler.running:
            self.wake.wait(1.0)
            self._take_results(time.monotonic(), once)

    def _known_failures(self) -> set[str]:
        return {m for m in self.tree.modules() if self.tree.failure(m) is not None}
