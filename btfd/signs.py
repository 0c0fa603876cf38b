"""What a watcher tells: `Changed`, `Appeared`, `Lost`, `Synced`.

Contract: an event carries no decision. `Changed(path)`: a file of interest was closed after
writing, renamed, or is gone; or a directory went away with all below it. `Appeared(path)`: a new
directory is watched now, and what it holds must be looked at. `Lost(reason, path)`: events may be
missing; everything below `path` must be looked at by stat (and `Watcher.rewatch` called first).
`Synced(token)`: everything that happened before `sync(token)` was called has been told.

Apart from the watcher, so that who only encodes what is stale does without inotify.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changed:
    """Look at this path again."""

    path: str


@dataclass(frozen=True, slots=True)
class Appeared:
    """Look at everything below this directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Events may be missing below `path`: look again by stat."""

    reason: str
    path: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What happened before `sync(token)` has been told."""

    token: str


WatchEvent = Changed | Appeared | Lost | Synced
