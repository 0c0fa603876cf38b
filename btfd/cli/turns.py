"""Whose turn it is where saves come faster than builds: one save of a file, one build of a tree.

Contract: two makes in one tree write the same objects, so a build waits until the last one of the
tree has ended. make tells by times what is old, and an object that was being compiled while its
source was saved is younger than the text that it lacks: such objects are made to look old before
the next build. Locks and times are files beside the service's socket and hold between processes; a
process that dies gives its turn back.

Cost: three small files; where a save fell into a build, the objects of the file are looked up.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import TextIO

from btfd import sources
from btfd.api import wire
from btfd.errors import Problem

#: Builds whose times are remembered.
_KEPT = 100
#: What make takes for older on any file system, in nanoseconds.
_OLDER = 2_000_000_000


@contextlib.contextmanager
def save(path: str) -> Iterator[bool]:
    """One save of a file at a time; False where a later one is waiting already."""
    base = _place("on-save", path)
    ours = f"{os.getpid()} {time.monotonic_ns()}"
    with open(base + ".last", "w", encoding="ascii") as last:
        last.write(ours)
    with open(base + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(base + ".last", encoding="ascii") as last:
            yield last.read() == ours


def build(command: Sequence[str], tree: str, path: str) -> None:
    """Runs a build of `tree` for a saved file, once the one that is running has ended.

    Raises Problem, with what the compiler said, where it fails.
    """
    with open(_place("build", tree) + ".lock", "a+", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        builds = [line.split() for line in lock.read().splitlines()[-_KEPT:]]
        if builds and len(builds[-1]) == 1:
            builds[-1].append(_now(lock))  # it was killed, and is over by now
        _age(tree, path, builds)
        lock.truncate(0)
        lock.write("".join(f"{' '.join(times)}\n" for times in builds) + _now(lock))
        lock.flush()
        try:
            done = subprocess.run(
                command, cwd=tree, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        except OSError as e:
            raise Problem(f"the build command does not start: {e.strerror}", path=command[0]) from e
        finally:
            lock.write(f" {_now(lock)}\n")
    if done.returncode:
        # What the compiler said is what the editor is to read.
        said = (done.stdout + done.stderr).decode(errors="surrogateescape").rstrip()
        raise Problem(f"the build failed with status {done.returncode}\n{said}")


def _age(tree: str, path: str, builds: Sequence[Sequence[str]]) -> None:
    """Makes objects that may have been compiled from what a file was before it was saved look older
    than the file. `builds`: when each began and ended; they do not overlap."""
    with contextlib.suppress(OSError, ValueError):
        saved = os.stat(path).st_mtime_ns
        ends = (int(end) for began, end in builds if int(began) <= saved <= int(end))
        end = next(ends, None)
        if end is None:
            return
        for name in sources.objects_of(tree, path):
            made = os.path.join(tree, name)
            with contextlib.suppress(FileNotFoundError):
                if saved <= os.stat(made).st_mtime_ns <= end:
                    os.utime(made, ns=(saved - _OLDER, saved - _OLDER))


def _now(file: TextIO) -> str:
    """By the clock that files are stamped with: nanoseconds."""
    os.utime(file.fileno())
    return str(os.fstat(file.fileno()).st_mtime_ns)


def _place(what: str, whose: str) -> str:
    """Where the files of a turn are, without their endings."""
    folder = os.path.dirname(wire.socket_path())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, f"{what}-{hashlib.sha256(os.fsencode(whose)).hexdigest()[:24]}")
