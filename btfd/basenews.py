"""What changed in the types of a vmlinux that was built anew: told apart from its modules' news.

Contract: `BaseNews.changed` is told of each new base, with the one before, and after the next
`tell`, `base-types` is recorded: `feedback` has the most important changes, at most
`feedback.MOST_TOLD`, all of layer `base`; `counts` has all of them. Where there is no base to
compare with, nothing is recorded. The comparison runs in a thread of its own; while it is at work,
later bases wait, and those that are overtaken are passed over. `tell` is for when no module waits:
the comparison would take a processor from them, and Python's lock.

Cost: a fourth of a second and 30 MB for two kernels of 4 MB of BTF; meanwhile both are kept.
Lines of the source are not looked for: the DWARF of a vmlinux takes seconds.
"""

import threading
import time
from typing import Any

from btfd import feedback
from btfd.engine import Base, Core
from btfd.errors import Problem
from btfd.feedback import Change
from btfd.journal import Recorder


def compare(core: Core, old: Base, new: Base) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The most important changes from one base to the next, and how many there are in all."""
    values = core.diff((old.to_bytes(), None, None), (new.to_bytes(), None, None))
    for value in values:
        value["layer"] = "base"
    counts = feedback.counts([Change.of(value) for value in values])
    return feedback.foremost(values), counts


class BaseNews:
    """Compares the bases of one tree."""

    def __init__(self, core: Core, journal: Recorder) -> None:
        self._core = core
        self._journal = journal
        self._lock = threading.Lock()
        self._next: tuple[str, Base, Base] | None = None
        self._working = False

    def changed(self, path: str, old: Base, new: Base) -> None:
        """The vmlinux at `path` has new BTF."""
        with self._lock:
            # What was not compared yet is part of the next comparison.
            since = old if self._next is None else self._next[1]
            self._next = (path, since, new)

    def tell(self) -> None:
        """Compares what there is to compare. Returns at once."""
        with self._lock:
            if self._working or self._next is None:
                return
            self._working = True
        threading.Thread(target=self._work, name="btfd-base-news", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                order, self._next = self._next, None
                if order is None:
                    self._working = False
                    return
            self._tell(*order)

    def _tell(self, path: str, old: Base, new: Base) -> None:
        started = time.perf_counter()
        try:
            told, counts = compare(self._core, old, new)
        except Problem:
            return  # one of them is nothing that can be compared; whoever uses it says so
        took = (time.perf_counter() - started) * 1000
        self._journal.record(
            "base-types",
            path,
            digest=new.digest,
            before=old.digest,
            counts=counts,
            milliseconds={"feedback": round(took, 3)},
            feedback=told,
        )
