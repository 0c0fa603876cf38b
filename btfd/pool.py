"""Encoder threads for all trees, in a number that can change.

Contract: an `Executor`. What is running when the number changes is finished by the old threads.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool(Executor):
    """A thread pool of a size that can be set."""

    def __init__(self, size: int, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max(1, size), name)

    def resize(self, size: int) -> None:
        with self._lock:
            old, self._threads = self._threads, ThreadPoolExecutor(max(1, size), self._name)
        old.shutdown(wait=False)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        with self._lock:
            return self._threads.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, **how: Any) -> None:
        self._threads.shutdown(wait, **how)
