"""Does what is due: hands jobs to threads, takes their outcomes, and knows when to try again.

Contract: `dispatch` starts what the scheduler gives out, as many as there are threads (with `once`
one more), unless it has to be left alone for now: because a make with kbuild's BTF step is at work
in the tree, or because installing failed several times in a row. `collect` takes outcomes,
remembers and records them. A trouble that may pass (disk full, no permission) is told once and
tried again with growing pauses. Threads that are free encode what has not settled yet, so that only
the install is left to do then; not where kbuild makes the BTF, which would be for nothing. Modules
for which only the base has changed go `CROWD` at a time; those that have to be encoded after all
then wait for a thread like any other. Everything but the encoding itself happens in the caller's
thread.

Cost: about 100 us a job beside the encoding, 50 in a crowd.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from btfd import kbuild, usage
from btfd.encode import (
    Outcome,
    Prepared,
    Request,
    encode_file,
    full_is_cheap,
    of_moved,
    prepare,
)
from btfd.engine import Core, Graph
from btfd.errors import Problem
from btfd.feedback import Memory
from btfd.journal import Recorder
from btfd.kept import Movable
from btfd.relinks import Relinks
from btfd.schedule import Breaker, Job, Scheduler
from btfd.tree import BASE_CHANGED, NEVER, NEW_LINK, SKIPPED, BuildTree

#: With `once`: how often a busy file is tried (about 15 s in all).
ATTEMPTS_ONCE = 12

#: Modules that are moved to another base in one go: 5 ms, at most 30, for which an edit may have to
#: wait.
CROWD = 32

#: Whether bytes are what we answered for a path over the base of a digest.
Ours = Callable[[str, bytes, str], bool]


class _Ready(NamedTuple):
    job: Job
    prepared: Prepared | None


class _Done(NamedTuple):
    job: Job
    outcome: Outcome
    digest: str


class _Crowd(NamedTuple):
    jobs: list[Job]
    outcomes: list[Outcome | None]
    digest: str


class Work:
    """The work on one tree. `once`: nothing is put off until something happens."""

    def __init__(
        self,
        tree: BuildTree,
        core: Core,
        journal: Recorder,
        wake: Callable[[], None],
        *,
        jobs: int,
        ours: Ours | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.scheduler = Scheduler()
        self.jobs = max(1, jobs)
        self.once = False
        self.failed: set[str] = set()
        """Modules whose last outcome was a failure."""
        self.passing: dict[str, Outcome] = {}
        """Those that failed for a reason that may pass."""
        self.held: str | None = None
        """Why modules are left alone for now."""
        self._tree = tree
        self._core = core
        self._journal = journal
        self._wake = wake
        self._ours: Ours = ours or (lambda *_: False)
        self._progress = progress or (lambda *_: None)
        self._memory = Memory()
        self._relinks = Relinks(core)
        self._done: queue.SimpleQueue[_Done | _Ready | _Crowd] = queue.SimpleQueue()
        self._crowds = 0
        self._crowded = 0
        self._breaker = Breaker()
        self._building = False
        self._looked = float("-inf")
        self.done = 0
        """How many encodes have ended."""

    def dispatch(self, pool: Executor, now: float) -> bool:
        """Starts what is due. False where the base is not what it was."""
        self.scheduler.eager = self._tree.use.who != kbuild.KBUILD and not self._breaker.open
        return self._start_due(pool, now) and self._start_ahead(pool, now)

    @property
    def _busy(self) -> int:
        """Threads at work."""
        return self.scheduler.occupied - self._crowded + self._crowds

    @property
    def _has_room(self) -> bool:
        """Whether something more may be started.

        With `once` that is one job more than there are threads, so that none of them waits for the
        loop; else an edit would have to wait for it.
        """
        return self._busy < self.jobs + int(self.once)

    def _start_due(self, pool: Executor, now: float) -> bool:
        while self._has_room:
            if self._breaker.due(self.scheduler.running) > now:
                return True
            most = 1 if self._breaker.open else CROWD
            crowd = self.scheduler.take_crowd(now, most, another=self._crowds > 0)
            if crowd:
                if not self._start_crowd(pool, crowd, now):
                    return False
                continue
            job = self.scheduler.take(now)
            if job is None:
                return True
            reason = self._tree.why(job.path)
            if reason is None:
                self.scheduler.finish(job)
                self.forget(job.path)
                continue
            job.reason = reason
            wait = self._hold(job, now)
            if wait is not None:
                self.scheduler.postpone(job, wait)
                continue
            try:
                request = self._tree.request()
            except Problem:
                self.scheduler.retry(job, now)
                return False
            self._submit(pool, job, self._share(job, request))
        return True

    def _start_crowd(self, pool: Executor, jobs: list[Job], now: float) -> bool:
        wait = self._hold(jobs[0], now)
        if wait is not None:
            for job in jobs:
                self.scheduler.postpone(job, wait)
            return True
        try:
            request = self._tree.request()
        except Problem:
            for job in jobs:
                self.scheduler.retry(job, now)
            return False
        movable: list[tuple[Job, Movable]] = []
        for job in jobs:
            found = self._tree.movable(job.path)
            if found is None:
                self.scheduler.alone(job)
            else:
                movable.append((job, found))
        if movable:
            self._submit_crowd(pool, movable, request)
        return True

    def _start_ahead(self, pool: Executor, now: float) -> bool:
        while self._has_room:
            job = self.scheduler.ahead(now)
            if job is None:
                return True
            try:
                request = self._tree.request() if self._tree.is_stale(job.path) else None
            except Problem:
                self.scheduler.prepared(job, None)
                return False
            if request is None:  # our own write, most likely
                self.scheduler.prepared(job, None)
                continue
            self._prepare(pool, job, self._share(job, request))
        return True

    def _share(self, job: Job, request: Request) -> Request:
        """One module alone gets every core, a crowd gets one each.

        Who edited that one module and looks at the result is told its full size too; but what was
        prepared in a crowd is not encoded once more for it.
        """
        alone = self._is_alone(job)
        threads = self.jobs if alone else 1
        if self.once:
            return request._replace(threads=threads)
        full = alone and job.reason != BASE_CHANGED
        full = full and (job.prepared is None or job.prepared.request.full)
        path = self._tree.path_of(job.path)
        full = full and full_is_cheap(path)
        # Who edits one module will edit it again.
        edited = job.reason == NEW_LINK
        relinks = self._relinks if edited and (alone or self._relinks.has(path)) else None
        return request._replace(threads=threads, full=full, relinks=relinks)

    def _is_alone(self, job: Job) -> bool:
        """Whether nothing else is to be encoded now. Echoes of our own installs are not."""
        if self.scheduler.occupied > 1:
            return False
        return not any(self._tree.is_stale(other) for other in self.scheduler.others(job))

    def remember(self) -> None:
        """Takes note of the BTF that is in modules now, so that their next one can be compared."""
        try:
            base = self._tree.request().base
        except Problem:
            return  # whoever encodes next says so
        assert base is not None
        paths = list(map(self._tree.path_of, self._tree.right()))
        threading.Thread(
            target=self._memory.fill,
            args=(self._core, base.base, paths),
            name="btfd-remember",
            daemon=True,
        ).start()

    def release(self) -> None:
        """Lets go of what only saves time: bases to compare with, units that may come again."""
        self._memory.release_bases()
        self._relinks.forget()

    def next_due(self) -> float | None:
        """When there will be something to dispatch; None: not by itself."""
        if not self._has_room:
            return None
        due = self.scheduler.next_due()
        if due is None:
            return None
        return max(due, self._breaker.due(self.scheduler.running))

    def at_rest(self, now: float) -> bool:
        """Whether nothing is done, nor could be."""
        due = self.scheduler.next_due()
        return not self.scheduler.occupied and (due is None or due > now)

    def collect(self, now: float) -> None:
        """Takes the outcomes that are there."""
        while True:
            try:
                done = self._done.get_nowait()
            except queue.Empty:
                break
            match done:
                case _Ready(job, prepared):
                    self.scheduler.prepared(job, prepared)
                case _Done(job, outcome, digest):
                    self._tree.record({job.path: outcome}, digest, save=False)
                    self._finish(job, outcome, now)
                case _Crowd():
                    self._finish_crowd(done, now)
        # A transaction costs as much as a small module does; of many in a row one will do.
        if self._tree.unsaved >= CROWD or not self.scheduler.occupied:
            self._tree.save()

    def forget(self, module: str) -> None:
        """A module is gone, or right: nothing of its past matters."""
        self.failed.discard(module)
        self.passing.pop(module, None)

    def pending(self) -> set[str]:
        """What will have an outcome soon. Nothing, while all installing is in trouble."""
        if self._breaker.open and not self.scheduler.running:
            return set()
        return self.scheduler.pending()

    def bad(self, modules: Iterable[str] | None = None) -> list[str]:
        """Those of `modules`, or of all, whose BTF could not be made."""
        tree = self._tree
        if modules is None and not (self._breaker.open or self.failed or tree.failures):
            return []
        known = tree.modules() if modules is None else modules
        if self._breaker.open:  # what has not been tried would fail as well
            return [m for m in known if m in self.failed or tree.is_stale(m)]
        return [m for m in known if m in self.failed or tree.failure(m) is not None]

    def _hold(self, job: Job, now: float) -> float | None:
        """Until when a job must be left to kbuild; None: it may begin."""
        if self.once or self._tree.use.who != kbuild.KBUILD:
            return None
        if now - self._looked >= usage.LOOK:
            self._looked = now
            places = {self._tree.root, self._tree.kernel}
            self._building = any(usage.building(place) for place in places)
        if self._building:
            if self.held is None:
                self.held = "a make with kbuild's own BTF step is at work in the tree"
                self._journal.record("held", job.path, reason=self.held)
            return now + usage.LOOK
        self.held = None
        if job.touched is not None and now < job.touched + usage.QUIET:
            return job.touched + usage.QUIET
        return None

    def _submit(self, pool: Executor, job: Job, request: Request) -> None:
        assert request.base is not None
        base = request.base
        path = self._tree.path_of(job.path)
        earlier = self._tree.earlier(job.path)
        prepared: Prepared | None = job.prepared
        by_kbuild = self._tree.use.who == kbuild.KBUILD and job.reason in (NEVER, NEW_LINK)

        def compare(graph: Graph) -> list[dict[str, Any]] | None:
            if self.once:
                return None  # nobody asks any more
            if job.reason != BASE_CHANGED:
                return self._memory.news(self._core, path, graph)
            self._memory.remember(path, graph)
            return None

        def work() -> Outcome:
            kept = usage.examine(self._core, path, base, self._ours) if by_kbuild else None
            if kept is not None:
                return kept._replace(feedback=self._memory.look(self._core, path, base.base))
            return encode_file(
                self._core,
                path,
                request,
                wanted=lambda: job.wanted,
                earlier=earlier,
                compare=compare,
                prepared=prepared,
            )

        def finished(future: Future[Outcome]) -> None:
            error = future.exception()
            outcome = (
                future.result()
                if error is None
                else Outcome(path, "failed", f"internal error: {error!r}", "please report it")
            )
            self._done.put(_Done(job, outcome, base.base.digest))
            self._wake()

        pool.submit(work).add_done_callback(finished)

    def _submit_crowd(
        self, pool: Executor, movable: list[tuple[Job, Movable]], request: Request
    ) -> None:
        assert request.base is not None and request.kept is not None
        base, kept = request.base, request.kept
        jobs = [job for job, _ in movable]
        release = None if request.force_base else base.release

        def work() -> list[Outcome | None]:
            wanted = [found for job, found in movable if job.wanted]
            moved = dict(zip(wanted, kept.move(wanted, base.base, release), strict=True))
            outcomes: list[Outcome | None] = []
            for _, found in movable:
                made = moved.get(found)
                outcomes.append(None if made is None else of_moved(found, made))
                if made is not None and not self.once:
                    # Thousands follow a change of the base; what comes next is compared with these.
                    self._memory.remember(found.path, (made.btf, base.base, None))
            return outcomes

        def finished(future: Future[list[Outcome | None]]) -> None:
            # Whatever went wrong: who encodes them will meet it too, and tell.
            failed: list[Outcome | None] = [None] * len(jobs)
            outcomes = failed if future.exception() else future.result()
            self._done.put(_Crowd(jobs, outcomes, base.base.digest))
            self._wake()

        self._crowds += 1
        self._crowded += len(jobs)
        pool.submit(work).add_done_callback(finished)

    def _prepare(self, pool: Executor, job: Job, request: Request) -> None:
        path = self._tree.path_of(job.path)
        earlier = self._tree.earlier(job.path)

        def work() -> Prepared | None:
            return prepare(self._core, path, request, wanted=lambda: job.wanted, earlier=earlier)

        def finished(future: Future[Prepared | None]) -> None:
            # Whatever went wrong: whoever installs will meet it too, and tell.
            self._done.put(_Ready(job, None if future.exception() else future.result()))
            self._wake()

        pool.submit(work).add_done_callback(finished)

    def _finish_crowd(self, done: _Crowd, now: float) -> None:
        self._crowds -= 1
        self._crowded -= len(done.jobs)
        pairs = list(zip(done.jobs, done.outcomes, strict=True))
        made = {job.path: o for job, o in pairs if o is not None}
        self._tree.record(made, done.digest, save=False)
        for job, outcome in pairs:
            if outcome is None:
                self.scheduler.alone(job)
            else:
                self._finish(job, outcome, now)

    def _finish(self, job: Job, outcome: Outcome, now: float) -> None:
        patient = not self.once or job.attempts < ATTEMPTS_ONCE
        if outcome.status == "busy" and job.wanted and patient:
            self.scheduler.retry(job, now)
            return
        passing = outcome.status == "failed" and not outcome.lasting
        if passing and job.wanted and not self.once:
            self.scheduler.retry(job, now, failing=True)
        else:
            self.scheduler.finish(job)
            if self.scheduler.waits(job.path) and self._tree.is_right(job.path):
                self.scheduler.forget(job.path)  # an echo of what we wrote
        if outcome.status == "superseded" and job.wanted:
            self.scheduler.touch(job.path, NEW_LINK, now)
            return
        if outcome.status == "dropped" or not job.wanted:
            return
        known = self.passing.get(job.path)
        self.forget(job.path)
        if passing:
            self._breaker.failed(now)
            self.passing[job.path] = outcome
        elif outcome.good:
            self._breaker.succeeded()
        if not outcome.good and not outcome.bare:
            self.failed.add(job.path)
        if not (passing and known is not None and known.reason == outcome.reason):
            self._record(job, outcome)
        self.done += 1
        self._progress(self.done, self.done + self.scheduler.running + len(self.scheduler))

    def _record(self, job: Job, outcome: Outcome) -> None:
        self._journal.record(
            SKIPPED if outcome.bare else outcome.status if outcome.good else "failed",
            job.path,
            because=job.reason,
            reason=outcome.reason,
            hint=outcome.hint,
            types=outcome.types,
            split_bytes=outcome.size,
            full_bytes=outcome.full_size,
            milliseconds={k: round(v, 3) for k, v in outcome.stages.items()},
            warnings=list(outcome.warnings),
            feedback=outcome.feedback,
        )
