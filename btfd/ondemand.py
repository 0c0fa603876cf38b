"""Encoding for somebody else: bytes out, nothing written.

Contract: `encode` answers for exactly the two files that the client saw, known by their stamps, or
raises `Unsuitable` (not here, not now: the client can do it itself) or `Refused` (nobody can). What
was answered is kept as a digest, so that the watcher knows its own bytes again when a client has
written them. Safe from any thread.

Cost: the core's, and the base is warm. Of several requests at a time each gets its share of `jobs`
threads. One that waits is still served sooner than it could load the base by itself (0.1 s), so
that `QUEUE` of them may wait for each thread.
"""

import base64
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from btfd.bases import Bases
from btfd.engine import Core, Stamp
from btfd.errors import Problem, Refused

#: Requests that wait, for each thread.
QUEUE = 1024
#: Answers that are remembered, about 200 bytes each.
REMEMBERED = 20_000


class Unsuitable(Problem):
    """This cannot be served here and now; the client can do it itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants encoded."""

    module: str
    stamp: Stamp
    base: str
    base_stamp: Stamp
    features: Sequence[str]
    lang_exclude: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes, in base64, and of what they were made."""

    btf: str
    btf_base: str | None
    warnings: Sequence[str]
    stamp: Stamp
    milliseconds: float


class OnDemand:
    """Serves orders; one for the whole service."""

    def __init__(self, core: Core, bases: Bases, jobs: int) -> None:
        self.encoded = 0
        self.unsuitable = 0
        self._core = core
        self._bases = bases
        self.jobs = max(1, jobs)
        self._lock = threading.Lock()
        self._waiting = 0
        self._served: OrderedDict[str, tuple[bytes, str]] = OrderedDict()

    def admit(self) -> None:
        """To be called before `encode` is queued. Raises Unsuitable where too many wait."""
        with self._lock:
            if self._waiting >= self.jobs * QUEUE:
                self.unsuitable += 1
                raise Unsuitable("too much to do")
            self._waiting += 1

    def encode(self, order: Order) -> Answer:
        """Serves one order that was admitted."""
        try:
            answer = self._encode(order)
        except Unsuitable:
            with self._lock:
                self.unsuitable += 1
            raise
        else:
            with self._lock:
                self.encoded += 1
            return answer
        finally:
            with self._lock:
                self._waiting -= 1

    def made(self, module: str, btf: bytes, digest: str) -> bool:
        """Whether `btf` is what was last answered for this module over the base of this digest."""
        with self._lock:
            return self._served.get(module) == (_digest(btf), digest)

    def _encode(self, order: Order) -> Answer:
        started = time.perf_counter()
        try:
            base = self._bases.at(order.base, order.base_stamp)
        except Problem as e:
            raise Unsuitable(f"{e.path or order.base}: {e.cause}") from e
        if base is None:
            raise Unsuitable(f"{order.base}: another file than the client's")
        try:
            made = self._core.encode(
                order.module,
                base.base,
                order.features,
                lang_exclude=order.lang_exclude,
                threads=max(1, self.jobs // self._waiting),
                full=False,
                resolve=False,
                earlier=None,
            )
        except Refused as e:
            if e.lasting:
                raise
            raise Unsuitable(f"{order.module}: {e.cause}") from e
        if made.stamp != order.stamp:
            raise Unsuitable(f"{order.module}: another file than the client's")
        with self._lock:
            self._served[order.module] = (_digest(made.btf), base.base.digest)
            self._served.move_to_end(order.module)
            if len(self._served) > REMEMBERED:
                self._served.popitem(last=False)
        return Answer(
            _text(made.btf),
            None if made.btf_base is None else _text(made.btf_base),
            made.warnings,
            made.stamp,
            round((time.perf_counter() - started) * 1000, 3),
        )


def _digest(btf: bytes) -> bytes:
    return hashlib.blake2b(btf, digest_size=20).digest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
