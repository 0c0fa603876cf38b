"""The memory of this process: how much of it is resident, and when what is free goes back.

Contract: encoders leave gaps of all sizes behind, which the C library keeps. `Rest` gives them
back once nothing is left to do: at once after `BURST` encodes, else after `QUIET` seconds without
one, if `WORTH` bytes more are resident than after the last time. It holds no clock; `due` says when
it wants to look again. Anybody may call `trim`. `bound_arenas` is for the start of a program that
runs for long; it changes nothing where the environment tunes the C library's allocator itself.

Cost: a trim takes 1 to 10 ms. The next encode has to ask for memory again, which makes a small one
1 ms longer and a large one a fifth; that is why small edits alone trim nothing. The bound makes
large encodes 1 to 4 % longer, small ones not.
"""

import ctypes
import gc
import os
import resource

#: So many encodes in a row are a burst.
BURST = 64
#: Seconds without an encode, after which somebody else may have the memory.
QUIET = 5.0
#: Bytes.
WORTH = 16 << 20
#: Free bytes that may stay at the end of an arena.
FREE = 2 << 20
#: The most that the C library allows.
MAPPED = 32 << 20
# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


class Rest:
    """When one loop gives memory back."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When to look again; None: after the next encode."""
        self._done = 0
        self._trimmed = 0
        self._left = 0

    def look(self, idle: bool, done: int, now: float) -> None:
        """To be called after encodes and when `due`. `done`: how many encodes have ended so far."""
        if done != self._done:
            self._done, self.due = done, now + QUIET
        if self.due is None or not idle:
            return
        burst = done - self._trimmed >= BURST
        if not burst and now < self.due:
            return
        self.due = None
        if burst or resident() - self._left >= WORTH:
            trim()
            self._trimmed, self._left = done, resident()


def bound_arenas(threads: int) -> None:
    """Lets the C library have one arena for each of so many encoders and one for all else.

    A module that is alone is encoded by threads that end with it, and the next ones may start a
    new arena, up to eight for each CPU. Each keeps pages that something small lies in: 14 MB more
    after 4,000 encodes, and on. Before the first other thread starts, or it has no effect.

    And lets an arena keep no more than `FREE` bytes at its end. `malloc_trim` does not look there
    but in the first arena, and the C library itself only from twice the size of the largest block
    on that was ever unmapped, at most 64 MB: 10 to 20 MB in each. Whoever says when has to say as
    well from which size on blocks are mapped each alone.
    """
    limit = getattr(ctypes.CDLL(None), "mallopt", None)
    if limit is None or _is_tuned():
        return
    limit(_M_ARENA_MAX, threads + 1)
    limit(_M_TRIM_THRESHOLD, FREE)
    limit(_M_MMAP_THRESHOLD, MAPPED)


def _is_tuned() -> bool:
    named = any(name.startswith("MALLOC_") for name in os.environ)
    return named or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")


def trim() -> None:
    """Gives free memory back to the system, where the C library can."""
    gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def resident() -> int:
    """Bytes of memory in use by this process."""
    with open("/proc/self/statm", "rb") as f:
        return int(f.read().split()[1]) * resource.getpagesize()
