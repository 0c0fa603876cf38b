"""Filesystem to events, those of `signs.py`.

Contract: the watcher never drops its watches because of a loss, and says so when it dies: `alive`.
Where events alone cannot be trusted, `polled` says why, and the consumer has to look at the tree
now and then: no descriptor or not enough watches, a root that is gone, a file system whose files
others write.

The barrier of `sync` needs no file: the end of a watch is an event too, queued in its turn. A watch
is put on /dev/null and taken off again; when its IN_IGNORED is read, all before it has been read.

Only watchdog's lowest layer is used, `watchdog.observers.inotify_c.InotifyFD`. The stock Observer
goes deaf in silence on a kernel tree: its mask makes readers feed it, its queue loses nine of ten
events in a storm, and its handler is never told. The private parts used here are
`_create_inotify_fd`, `_get_or_create_watch`, `_remove_watch`, `_watch_for_wd`, `_poller`, `_lock`,
`_closed` and `_inotify_fd`; a contract test covers them, and the version is pinned.

Cost: one inotify descriptor a tree, one watch (1 KiB of kernel memory) a directory, one thread;
about 7 us of CPU an event of the write side, nothing for readers, nothing when idle. Pending events
are kept once each, so that a slow consumer costs no memory beyond the number of files.
"""

import contextlib
import errno
import os
import select
import stat
import threading
from collections.abc import Callable, Iterable

from watchdog.observers.inotify_c import (
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
    inotify_add_watch,
    inotify_rm_watch,
)

from btfd import limits
from btfd.kbuild import SKIP, SKIP_IN_ROOT, SKIP_PREFIX
from btfd.mounts import Mounts
from btfd.signs import Appeared, Changed, Lost, Synced, WatchEvent

#: The write side only. OPEN, ACCESS, CLOSE_NOWRITE and MODIFY are 98 % of a build's events.
MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
LIMIT_REACHED = "the limit of inotify watches is reached"

_ROOT_GONE = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF
_UNMOUNT = InotifyConstants.IN_UNMOUNT
_ISDIR = InotifyConstants.IN_ISDIR
_WRITTEN = (
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
)
_ARRIVED = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_LIMITS = (errno.ENOSPC, errno.ENOMEM)
#: Where barriers are put: no directory, so never watched otherwise, and there in any sandbox.
_BARRIER = os.fsencode(os.devnull)
_BARRIER_MASK = Mask(InotifyConstants.IN_MOVE_SELF)


class _Reader(InotifyFD):
    """The reading thread, with the whole of event handling replaced."""

    def __init__(
        self,
        handle: Callable[[InotifyEvent], None],
        died: Callable[[str], None],
        mounts: int,
        mounted: Callable[[], None],
    ) -> None:
        super().__init__()
        self.name = "btfd-watch"
        self._handle = handle
        self._died = died
        self._mounted = mounted
        if mounts >= 0 and self._poller is not None:
            self._poller.register(mounts, select.POLLPRI)

    @classmethod
    def _create_inotify_fd(cls) -> int:
        fd = super()._create_inotify_fd()
        os.set_inheritable(fd, False)
        return fd

    def read_events(self, *, event_buffer_size: int = 1 << 16) -> list[InotifyEvent]:
        events = super().read_events(event_buffer_size=event_buffer_size)
        if not events and not self._closed:
            os.fstat(self._inotify_fd)  # a lost descriptor reads as empty, for ever
            self._mounted()
        return events

    def handle_event(self, event: InotifyEvent) -> None:
        if event.is_ignored:
            with self._lock:
                self._remove_watch(event.wd)
        self._handle(event)

    def run(self) -> None:
        try:
            super().run()
        except Exception as e:  # whatever it was, the tree is deaf now
            self._died(f"the reader failed: {e!r}")

    def watch(self, path: bytes) -> WatchDescriptor:
        """A watch on a directory; the one it has already, if any. Raises OSError."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "closed")
            wd = self._get_or_create_watch(path, MASK).wd
            if wd == -1:  # watchdog swallows EACCES
                self._watch_for_wd.pop(wd, None)
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return wd

    def unwatch(self, wd: WatchDescriptor) -> None:
        """Ends a watch; IN_IGNORED follows. Where it had ended, that may have been swallowed."""
        with self._lock:
            if not self._closed and inotify_rm_watch(self._inotify_fd, wd) == -1:
                self._watch_for_wd.pop(wd, None)

    def barrier(self) -> int:
        """A watch that ends at once; its IN_IGNORED comes after all that is queued. OSError."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "closed")
            wd = inotify_add_watch(self._inotify_fd, _BARRIER, _BARRIER_MASK)
            if wd == -1:
                raise OSError(errno.ENOSPC, "no watch for a barrier")
            inotify_rm_watch(self._inotify_fd, wd)
            return wd


class Watcher:
    """Watches one tree. `wake` is called, from any thread, when events are waiting."""

    def __init__(
        self, root: str, interesting: Callable[[bytes], bool], wake: Callable[[], None]
    ) -> None:
        self.root = os.path.realpath(root)
        self._root = os.fsencode(self.root)
        self._interesting = interesting
        self._wake = wake
        self._told: list[WatchEvent] = []
        self._pending: dict[WatchEvent, None] = {}
        self._pending_lock = threading.Lock()
        # Tables of the reader and of whoever calls `rewatch`; one lock for both.
        self._tables = threading.RLock()
        self._path_of: dict[int, bytes] = {}
        self._wd_of: dict[bytes, int] = {}
        self._retired: set[int] = set()
        self._barriers: dict[int, Callable[[], None]] = {}
        self._root_id: tuple[int, int] | None = None
        self._mounts = Mounts(self._root)
        self._no_descriptor: str | None = None
        self._heard = True
        self.limited = False
        """The watch limit was hit: some directories are not watched."""
        self.dead: str | None = None
        """Why the reader ended, if it did."""
        self._reader: _Reader | None = None

    # Life

    def start(self) -> None:
        """Watches the whole tree. About 0.3 s for 5,000 directories."""
        self.rewatch()

    def stop(self) -> None:
        """Ends the thread and closes the descriptor."""
        if self._reader is not None:
            self._reader.stop()
            if self._reader.is_alive():
                self._reader.join(5)
        self._mounts.close()

    @property
    def alive(self) -> bool:
        """Whether the reader has not ended. There may be none: see `polled`."""
        return self.dead is None and (self._reader is None or self._reader.is_alive())

    def hears(self) -> bool:
        """Whether what was asked at the last call has come back; asks again.

        For a dead man's switch: call it at intervals that are long beside a reader's delay.
        """
        heard = self.alive and self._heard
        if heard and self._reader is not None:
            self._heard = False
            if not self._put_barrier(self._heartbeat):
                self._heard = True  # no watch to be had: `polled` tells
        return heard

    @property
    def rooted(self) -> bool:
        """Whether the root is watched. Where not, its return will give no event."""
        with self._tables:
            return self._root_id is not None and self._root in self._wd_of

    @property
    def polled(self) -> str | None:
        """Why events alone cannot be trusted; None where they can."""
        if self._no_descriptor is not None:
            return self._no_descriptor
        if self.limited:
            return LIMIT_REACHED
        if self._mounts.deaf is not None:
            return self._mounts.deaf
        return None if self.rooted else "the root of the tree is not watched"

    def advice(self) -> str | None:
        """What would make events trustworthy again, where something can be done. Walks the tree."""
        if self._no_descriptor is not None:
            return limits.enough_instances()
        if self.limited:
            return limits.enough_watches(self._count() - self.directories)
        if self._mounts.deaf is not None:
            return "keep the build tree on a local file system"
        return None

    @property
    def directories(self) -> int:
        """Directories that are watched now."""
        with self._tables:
            return len(self._path_of)

    # The consumer's side

    def take(self) -> list[WatchEvent]:
        """All events that are waiting, oldest first, each once between two barriers."""
        with self._pending_lock:
            taken = [*self._told, *self._pending]
            self._told.clear()
            self._pending.clear()
        return taken

    def sync(self, token: str) -> None:
        """`Synced(token)` will come when everything that has happened by now has been told.

        Where events alone cannot be trusted, a look at the whole tree is asked for first.
        """

        def told() -> None:
            self._post_synced(token)

        if self.polled is not None or not self.alive or not self._put_barrier(told):
            self._post(Appeared(self.root))
            told()

    def rewatch(self) -> None:
        """Watches every directory again; those that are watched already stay as they are."""
        if self._reader is None and not self._open():
            return
        with self._tables:
            self._root_id = _identity(self._root)
            self._mounts.look()
            gone = [p for p in self._wd_of if not os.path.isdir(p)]
        for path in gone:
            self._drop(path)
        if self._adopt(self._root):
            self.limited = False
        with self._tables:
            retired = set(self._retired)
        # An overflow may have swallowed the end of some; nothing of them comes after this.
        if retired:
            self._put_barrier(lambda: self._retired.difference_update(retired))

    def check_root(self) -> bool:
        """Whether the root is still the directory that is watched; posts `Lost` when it came back.

        One stat. Call it now and then: a root that was moved away and made again gives no event.
        """
        now = _identity(self._root)
        with self._tables:
            known = now == self._root_id
        if now is not None and not known and self._reader is not None:
            self._post(Lost("the tree's root is a new directory", self.root))
        return now is not None

    # The reader's side

    def _open(self) -> bool:
        try:
            self._reader = _Reader(
                self._handle, self._reader_died, self._mounts.fd, self._mounts_changed
            )
        except OSError as e:
            self._no_descriptor = f"no inotify descriptor: {e.strerror}"
            return False
        self._no_descriptor = None
        self._reader.start()
        return True

    def _put_barrier(self, passed: Callable[[], None]) -> bool:
        """Calls `passed` from the reader when it has read all that is queued now."""
        reader = self._reader
        assert reader is not None
        with self._tables:  # the reader shall not be faster than this entry
            try:
                self._barriers[reader.barrier()] = passed
            except OSError:
                return False
        return True

    def _heartbeat(self) -> None:
        self._heard = True

    def _post_synced(self, token: str) -> None:
        """What was told before stays before: a later mention must not move it behind."""
        with self._pending_lock:
            self._told += [*self._pending, Synced(token)]
            self._pending.clear()
        self._wake()

    def _post(self, event: WatchEvent) -> None:
        with self._pending_lock:
            first = not self._pending
            self._pending.pop(event, None)  # the newest mention decides the order
            self._pending[event] = None
        if first:
            self._wake()

    def _reader_died(self, reason: str) -> None:
        self.dead = reason
        self._post(Lost(reason, self.root))
        self._wake()

    def _mounts_changed(self) -> None:
        if self._mounts.look():  # what was mounted over is heard no more, and says nothing
            self._post(Lost("a file system was mounted or unmounted", self.root))

    def _handle(self, event: InotifyEvent) -> None:
        if event.is_queue_overflow:
            self._post(Lost("the kernel's event queue overflowed", self.root))
            with self._tables:  # their ends may be among what was dropped
                waiting = list(self._barriers.values())
                self._barriers.clear()
            for call in waiting:
                call()
            return
        mask = event.mask
        with self._tables:
            passed = self._barriers.pop(event.wd, None)
            if passed is not None:
                passed()
                return
            folder = self._path_of.get(event.wd)
            if event.is_ignored:
                self._retired.discard(event.wd)
                self._forget(event.wd)
                if folder == self._root and self._root_id is not None:
                    self._root_left(mask)
                return
            if folder is None:
                if event.wd not in self._retired:
                    self._post(Lost("an event of an unknown directory", self.root))
                return
        if mask & (_ROOT_GONE | _UNMOUNT):
            if folder == self._root:
                self._root_left(mask)
            elif mask & _UNMOUNT:
                self._post(Lost("a file system was unmounted", os.fsdecode(folder)))
            return
        if mask & _ISDIR:
            self._directory(mask, folder, event.name)
        elif self._interesting(event.name):
            path = os.path.join(folder, event.name)
            if mask & _WRITTEN or _is_link(path):
                self._post(Changed(os.fsdecode(path)))

    def _root_left(self, mask: int) -> None:
        with self._tables:
            self._root_id = None
        word = "unmounted" if mask & _UNMOUNT else "moved or deleted"
        if mask & InotifyConstants.IN_MOVE_SELF:
            self._drop(self._root)  # else the old place would go on reporting under this name
        self._post(Lost(f"the tree's root was {word}", self.root))

    def _directory(self, mask: int, folder: bytes, name: bytes) -> None:
        if self._skipped(folder, name):
            return
        path = os.path.join(folder, name)
        if mask & InotifyConstants.IN_MOVED_FROM:
            self._drop(path)
        if mask & _ARRIVED:
            self._adopt(path)
            self._post(Appeared(os.fsdecode(path)))
        else:
            self._post(Changed(os.fsdecode(path)))

    # Tables

    def _skipped(self, folder: bytes, name: bytes) -> bool:
        return (
            name in SKIP
            or name.startswith(SKIP_PREFIX)
            or (folder == self._root and name in SKIP_IN_ROOT)
        )

    def _adopt(self, top: bytes) -> bool:
        """Watches a directory and all below; each is watched before it is listed.

        False where the limit of watches was met, which is told once until it is overcome.
        """
        stack = [top]
        while stack:
            path = stack.pop()
            try:
                self._watch(path)
                stack.extend(self._subdirectories(path))
            except OSError as e:
                if e.errno in _LIMITS:
                    if not self.limited:
                        self.limited = True
                        self._post(Lost(LIMIT_REACHED, self.root))
                    return False
                # Gone again, or not ours to read: the next event or rescan will tell.
        return True

    def _watch(self, path: bytes) -> None:
        reader = self._reader
        assert reader is not None
        with self._tables:
            wd = reader.watch(path)
            old = self._path_of.get(wd)
            if old is not None and old != path:
                self._wd_of.pop(old, None)
            before = self._wd_of.get(path)
            if before is not None and before != wd:
                # Another directory has this name now; the old one reports elsewhere or is gone.
                self._path_of.pop(before, None)
                self._retire(before)
            self._path_of[wd] = path
            self._wd_of[path] = wd

    def _subdirectories(self, path: bytes) -> Iterable[bytes]:
        with os.scandir(path) as entries:
            return [
                entry.path
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not self._skipped(path, entry.name)
            ]

    def _forget(self, wd: int) -> None:
        path = self._path_of.pop(wd, None)
        if path is not None and self._wd_of.get(path) == wd:
            del self._wd_of[path]

    def _drop(self, top: bytes) -> None:
        """Ends the watches of a directory that left this place, and of all below."""
        prefix = top + b"/"
        with self._tables:
            leaving = [p for p in self._wd_of if p == top or p.startswith(prefix)]
            for path in leaving:
                wd = self._wd_of.pop(path)
                self._path_of.pop(wd, None)
                self._retire(wd)

    def _retire(self, wd: int) -> None:
        """Ends a watch. What is queued of it still comes."""
        assert self._reader is not None
        self._retired.add(wd)
        self._reader.unwatch(WatchDescriptor(wd))

    def _count(self) -> int:
        """Directories that should be watched."""
        stack, count = [self._root], 0
        while stack:
            path = stack.pop()
            with contextlib.suppress(OSError):
                stack.extend(self._subdirectories(path))
                count += 1
        return count


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        s = os.stat(path)
    except OSError:
        return None
    return (s.st_dev, s.st_ino) if stat.S_ISDIR(s.st_mode) else None


def _is_link(path: bytes) -> bool:
    """Whether a file that was just created has its contents already: `ln`, `cp -l`, `ln -s`.

    No close will tell of it. A file that somebody opened to fill it has one link.
    """
    try:
        s = os.lstat(path)
    except OSError:
        return False
    return s.st_nlink > 1 or stat.S_ISLNK(s.st_mode)
