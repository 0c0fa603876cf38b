"""Who is next: coalesce, settle, prepare meanwhile, the just-edited first, drop what is overtaken.

Contract: holds paths and times, touches no file and no clock; the caller passes `now` (monotonic
seconds). A path is handed out once, and not again before `finish`. What is touched while it is
running comes again afterwards. `overtake` empties the queue and marks what is running as not wanted
any more, because a newer base makes those results worthless. While a touched file settles, `ahead`
gives it out to be prepared (read, not written), once for each touch; `take` does not before that is
done (`prepared`). The next touch disowns what was prepared.

Settle: a touched file is handed out `SETTLE` seconds after its last event: the linker, strip and
kbuild's own step write a module two to four times within 40 ms of each other, and the core's own
check for writers covers the rest. It may be prepared `AHEAD` seconds after the event: two writes
within one tick of the kernel's clock, at most 10 ms, leave the same times, so that what was read
between them could not be told from what is there later. A busy file comes again after
`BUSY_FIRST`, doubled up to `BUSY_LAST`, and keeps what was prepared; one that failed for a reason
that passes (disk full, no permission) after `FAILED_FIRST`, doubled up to `FAILED_LAST`, or as soon
as it is touched. Files that were only found stale by a scan do not wait. Where several files in a
row fail like that, `Breaker` lets only one try at a time.

Order: touched files by their last event, newest first; then the found ones, in the order found;
then those that failed before, so that they never stand in the way of what would succeed. Those
found ones that can be done many at once (`take_crowd`) come first, except for a caller who has some
under way: the others take long, and are best begun early.
Cost: `take` is linear in what was touched or waits, 0.1 ms for 1,000 modules; what was found costs
nothing more the more there is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

SETTLE = 0.05
AHEAD = 0.012
BUSY_FIRST = 0.1
BUSY_LAST = 2.0
FAILED_FIRST = 1.0
FAILED_LAST = 300.0


@dataclass(slots=True)
class Job:
    """One file to work on. `wanted` turns False when the result would be worthless."""

    path: str
    reason: str
    touched: float | None = None
    """Time of its last event; None where a scan found it."""
    due: float = 0.0
    order: int = 0
    attempts: int = 0
    failing: bool = False
    """It failed, and is only tried again in case that the cause has passed."""
    wanted: bool = field(default=True)
    prepared: Any = None
    """What came of preparing it; the scheduler only keeps it as long as it can be right."""
    begun: bool = False
    """It was given out to be prepared."""
    crowd: bool = False
    """It can be done along with others."""

    @property
    def ready(self) -> bool:
        """Found by a scan, and never failed or busy since: it waits for nothing."""
        return self.touched is None and not self.attempts and not self.due


class Scheduler:
    """The queue of one tree."""

    def __init__(self, settle: float = SETTLE) -> None:
        self._settle = settle
        self._queued: dict[str, Job] = {}
        # The same by what they wait for: a crowd, a thread, a time.
        self._crowd: dict[str, Job] = {}
        self._found: dict[str, Job] = {}
        self._timed: dict[str, Job] = {}
        self._put_off = 0
        """Of the latter, how many are of a crowd."""
        self._running: dict[str, Job] = {}
        self._again: dict[str, Job] = {}
        self._ahead: list[Job] = []
        self._order = 0
        self.eager = True
        """Whether `ahead` gives out anything."""

    def __len__(self) -> int:
        return len(self._queued)

    @property
    def running(self) -> int:
        """Jobs that were handed out and not finished."""
        return len(self._running)

    @property
    def occupied(self) -> int:
        """Jobs that keep a thread, those that are only prepared too."""
        return len(self._running) + len(self._ahead)

    @property
    def idle(self) -> bool:
        """Nothing queued, nothing running."""
        return not self._queued and not self.occupied

    def waits(self, path: str) -> bool:
        """Whether a job for this path is queued, and not running."""
        return path in self._queued

    def pending(self) -> set[str]:
        """Paths that will have an outcome without anything happening first."""
        waiting = (job for job in (*self._queued.values(), *self._again.values()))
        return {job.path for job in waiting if not job.failing} | set(self._running)

    def others(self, job: Job) -> Iterator[str]:
        """Paths that wait beside this one, but for those that only wait for a trouble to pass."""
        return (o.path for o in self._queued.values() if o.path != job.path and not o.failing)

    def touch(self, path: str, reason: str, now: float) -> None:
        """An event named this path: it settles anew."""
        self._put(self._job(path, reason, touched=now, due=now + self._settle))

    def find(self, path: str, reason: str, *, crowd: bool = False) -> None:
        """A scan found this path stale. What was touched keeps its place.

        `crowd`: it can be done along with others.
        """
        place = self._again if path in self._running else self._queued
        known = place.get(path)
        if known is not None and not (known.failing and known.reason != reason):
            return
        running = self._running.get(path)
        if running is not None and running.wanted:
            return
        job = self._job(path, reason)
        job.crowd = crowd
        self._put(job)

    def forget(self, path: str) -> None:
        """Nothing to do for this path any more."""
        self._disown(path)
        self._remove(path)
        self._again.pop(path, None)

    def take(self, now: float) -> Job | None:
        """The next job that is due, or None."""
        best = self._next_timed(now)
        if best is None or best.failing:
            best = next(chain(self._found.values(), self._crowd.values()), best)
        if best is not None:
            self._remove(best.path)
            self._running[best.path] = best
        return best

    def take_crowd(self, now: float, most: int, *, another: bool = False) -> list[Job]:
        """The next jobs, where they can be done along with each other; at most so many.

        `another`: some are under way.
        """
        if not self._crowd and not self._put_off:
            return []
        first = self._next_timed(now)
        if (first is not None and not first.failing) or (another and self._found):
            return []
        jobs = list(islice(self._crowd.values(), most))
        for job in jobs:
            self._remove(job.path)
            self._running[job.path] = job
        return jobs

    def alone(self, job: Job) -> None:
        """A job of a crowd has to be done by itself after all."""
        self.finish(job)
        if job.wanted and job.path not in self._queued:
            job.crowd = False
            self._add(job)

    def ahead(self, now: float) -> Job | None:
        """The next job that may be prepared while it settles, or None. `prepared` must follow."""
        ready = [job for job in self._at_hand() if self._ahead_at(job) <= now]
        if not ready:
            return None
        best = max(ready, key=lambda job: job.order)
        best.begun = True
        self._ahead.append(best)
        return best

    def prepared(self, job: Job, result: Any) -> None:
        """A job that `ahead` gave out can be taken now, with this result (None: there is none)."""
        self._ahead = [other for other in self._ahead if other is not job]
        job.prepared = result if job.wanted else None

    def next_due(self) -> float | None:
        """When the earliest queued job may be taken, or prepared."""
        if self._crowd or self._found:
            return 0.0
        return min((min(job.due, self._ahead_at(job)) for job in self._at_hand()), default=None)

    def finish(self, job: Job) -> None:
        """A job handed out is done, whatever came of it."""
        self._running.pop(job.path, None)
        again = self._again.pop(job.path, None)
        if again is not None:
            self._add(again)

    def retry(self, job: Job, now: float, *, failing: bool = False) -> None:
        """A job met a writer, or a trouble that may pass: again later, unless it is queued anew."""
        self.finish(job)
        if job.path in self._queued:
            return
        first, last = (FAILED_FIRST, FAILED_LAST) if failing else (BUSY_FIRST, BUSY_LAST)
        attempts = job.attempts if job.failing == failing else 0
        delay = min(first * 2.0**attempts, last)
        later = self._job(job.path, job.reason, touched=job.touched, due=now + delay)
        later.attempts = attempts + 1
        later.failing = failing
        later.begun = True
        later.prepared = None if failing else job.prepared
        self._add(later)

    def postpone(self, job: Job, due: float) -> None:
        """A job that was taken is not to be done before `due`."""
        self.finish(job)
        if job.path not in self._queued:
            later = self._job(job.path, job.reason, touched=job.touched, due=due)
            later.attempts, later.failing, later.begun = job.attempts, job.failing, True
            later.crowd = job.crowd
            self._add(later)

    def overtake(self) -> int:
        """Drops everything queued and disowns what is running; says how many."""
        for job in (*self._running.values(), *self._ahead):
            job.wanted = False
        count = len(self._queued) + len(self._running)
        for queue in (self._queued, self._crowd, self._found, self._timed):
            queue.clear()
        self._put_off = 0
        self._again.clear()
        return count

    def _job(self, path: str, reason: str, touched: float | None = None, due: float = 0.0) -> Job:
        self._order += 1
        return Job(path, reason, touched, due, self._order)

    def _at_hand(self) -> Iterable[Job]:
        """Those that wait for a time, and are not being prepared."""
        if not self._ahead:
            return self._timed.values()
        busy = {job.path for job in self._ahead if job.wanted}
        return [job for job in self._timed.values() if job.path not in busy]

    def _next_timed(self, now: float) -> Job | None:
        """The first of those whose time has come, but for those that wait for nothing any more."""
        best = None
        for job in [job for job in self._at_hand() if job.due <= now]:
            if job.touched is None and not job.attempts:
                self._remove(job.path)
                job.due = 0.0
                self._add(job)
            elif best is None or _rank(job) < _rank(best):
                best = job
        return best

    def _ahead_at(self, job: Job) -> float:
        """When a job may be prepared."""
        if job.touched is None or job.begun or job.failing or not self.eager:
            return float("inf")
        return job.touched + AHEAD

    def _disown(self, path: str) -> None:
        """What is being prepared for this path is worthless."""
        for job in self._ahead:
            if job.path == path:
                job.wanted = False

    def _put(self, job: Job) -> None:
        self._disown(job.path)
        running = self._running.get(job.path)
        if running is not None:
            self._again[job.path] = job
        else:
            self._add(job)

    def _add(self, job: Job) -> None:
        self._remove(job.path)
        self._queued[job.path] = job
        place = self._place_of(job)
        self._put_off += place is self._timed and job.crowd
        late = any(last.order > job.order for last in islice(reversed(place.values()), 1))
        place[job.path] = job
        if late and place is not self._timed:
            jobs = sorted(place.values(), key=lambda job: job.order)
            place.clear()
            place.update((job.path, job) for job in jobs)

    def _remove(self, path: str) -> None:
        job = self._queued.pop(path, None)
        if job is not None:
            place = self._place_of(job)
            self._put_off -= place is self._timed and job.crowd
            del place[path]

    def _place_of(self, job: Job) -> dict[str, Job]:
        if not job.ready:
            return self._timed
        return self._crowd if job.crowd else self._found


def _rank(job: Job) -> tuple[bool, float, int]:
    """The least goes first."""
    return (job.failing, -(job.touched or float("-inf")), job.order)


class Breaker:
    """Keeps a tree whose every install fails, as on a full disk, from being tried in a hot loop.

    After `LIMIT` failures in a row it opens: nothing is tried for a pause, then one file at a
    time, with the pause doubled each time. The first success closes it.
    """

    LIMIT = 3
    FIRST = 1.0
    LAST = 60.0

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= self.LIMIT

    def due(self, running: int) -> float:
        """When something may be tried again; 0 where at once."""
        if not self.open:
            return 0.0
        return float("inf") if running else self._until

    def failed(self, now: float) -> None:
        self._failures += 1
        if self.open:
            late = min(self._failures - self.LIMIT, 10)
            self._until = now + min(self.FIRST * 2.0**late, self.LAST)

    def succeeded(self) -> None:
        self._failures = 0
