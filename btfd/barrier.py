"""The barrier behind `wait`: what was written before a call is done when it is answered.

Contract: a waiter passes when the watcher has told everything that happened before it (`synced`),
and nothing is left to look at; then it takes note of what is to be done, and is answered when all
of that has an outcome. Files that only wait to be tried again after a failure have one. One thread
only, but futures may be cancelled from anywhere; cancelled waiters are forgotten.

Cost: one set of paths a waiter.
"""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass

from btfd.errors import Problem, UnknownModule


@dataclass(slots=True)
class _Waiter:
    names: Sequence[str] | None
    future: "Future[list[str]]"
    synced: bool = False
    modules: Sequence[str] | None = None
    left: set[str] | None = None


class Barriers:
    """All waiters of one tree. `find` gives the module of a name, None where there is none."""

    def __init__(self, find: Callable[[str], str | None]) -> None:
        self._find = find
        self._waiters: dict[str, _Waiter] = {}
        self._number = 0

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def add(self, names: Sequence[str] | None, future: "Future[list[str]]") -> str:
        """A new waiter, for modules of these names or for all; its token for `synced`."""
        self._number += 1
        token = f"wait {self._number}"
        self._waiters[token] = _Waiter(names, future)
        return token

    def synced(self, token: str) -> None:
        """Everything that happened before this waiter came has been told."""
        waiter = self._waiters.get(token)
        if waiter is not None:
            waiter.synced = True

    def abandon(self, problem: Problem) -> None:
        """Nobody is left to answer."""
        for waiter in self._waiters.values():
            with contextlib.suppress(InvalidStateError):
                waiter.future.set_exception(problem)
        self._waiters.clear()

    def look(
        self, settled: bool, pending: set[str], bad: Callable[[Sequence[str] | None], list[str]]
    ) -> None:
        """Answers whoever can be answered.

        `settled`: nothing is left to look at; `pending`: what has no outcome yet; `bad`: those of
        the given modules (None: of all) that have no right BTF.
        """
        for token, waiter in list(self._waiters.items()):
            if waiter.future.cancelled():
                del self._waiters[token]
                continue
            if not waiter.synced or (waiter.left is None and not settled):
                continue
            try:
                if waiter.left is None:
                    self._note(waiter, pending)
                assert waiter.left is not None
                waiter.left &= pending
                if waiter.left or not settled:
                    continue
                answer = bad(waiter.modules)
            except Problem as e:
                del self._waiters[token]
                with contextlib.suppress(InvalidStateError):
                    waiter.future.set_exception(e)
                continue
            del self._waiters[token]
            with contextlib.suppress(InvalidStateError):
                waiter.future.set_result(answer)

    def _note(self, waiter: _Waiter, pending: set[str]) -> None:
        if waiter.names is None:
            waiter.left = set(pending)
            return
        modules = []
        for name in waiter.names:
            module = self._find(name)
            if module is None:
                raise UnknownModule("no such module", path=name)
            modules.append(module)
        waiter.modules = modules
        waiter.left = pending.intersection(modules)
