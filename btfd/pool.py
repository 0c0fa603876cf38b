"""Encoder threads for all trees, in a number that can change.

Contract: an `Executor`. What is running when the number changes is finished by the old threads.
Its threads, and those that the core starts for them, are of low priority: a build comes first.
Clients that wait for an answer are served by other threads.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

#: Of 0 to 19; the input and output of such a thread comes after others' too.
NICE = 10

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool(Executor):
    """A thread pool of a size that can be set."""

    def __init__(self, size: int, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads = self._start(size)

    def _start(self, size: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max(1, size), self._name, initializer=_step_back)

    def resize(self, size: int) -> None:
        with self._lock:
            old, self._threads = self._threads, self._start(size)
        old.shutdown(wait=False)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        with self._lock:
            return self._threads.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, **how: Any) -> None:
        self._threads.shutdown(wait, **how)


def _step_back() -> None:
    """Lowers the calling thread, unless it is low already."""
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) < NICE:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
