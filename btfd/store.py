"""What outlives a run: which state of which file was encoded, over which base, how.

Also the words of `.BTF_ids` as the linker wrote them, which a resolver spoils. They are kept at the
first sight of a link and are those of every file with the same build id: the linker computes it
over all contents, these words included, and nothing that comes later changes it. A module without
a build id has none kept; the core then recovers the words from the file or refuses.

Contract: an index only; losing it costs work, never correctness. A file that is corrupt, of
another program or of another version is replaced without a word; a row that no `Record` can be made
of is as good as none. A store that cannot be opened or written (read-only home, full disk) keeps
its answers in memory for this run; `trouble` then says why. Keys are (tree, path), as bytes, so
that any file name fits. One thread only.

Cost: one sqlite row a module, about 300 bytes; reading the 1,121 rows of a tree takes 7 ms. Rows
that are remembered together are one transaction, 0.1 ms and 5 us a row, which does not wait for
the disk (WAL, synchronous=NORMAL): after a power cut the last rows may be missing, and those
modules are encoded once more.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from btfd.engine import Stamp

APPLICATION = 0x62746664  # "btfd"
VERSION = 3

_SCHEMA = """
CREATE TABLE module (
    tree BLOB NOT NULL, path BLOB NOT NULL,
    device INTEGER, inode INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
    base TEXT NOT NULL, options TEXT NOT NULL, status TEXT NOT NULL, reason TEXT,
    types INTEGER, bytes INTEGER, origin TEXT, mark BLOB,
    PRIMARY KEY (tree, path)
) WITHOUT ROWID;
CREATE TABLE base (
    tree BLOB PRIMARY KEY,
    device INTEGER, inode INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
    digest TEXT NOT NULL, release TEXT
) WITHOUT ROWID;
CREATE TABLE link (
    tree BLOB NOT NULL, path BLOB NOT NULL, build_id TEXT NOT NULL, words BLOB NOT NULL,
    PRIMARY KEY (tree, path)
) WITHOUT ROWID;
"""

#: What the columns hold.
_WORD, _MAYBE = (str,), (str, type(None))
_STAMP, _COUNT = ((int,),) * 5, (int, type(None))
_MODULE = ((bytes,), *_STAMP, *(_WORD,) * 3, _MAYBE, _COUNT, _COUNT, _MAYBE, (bytes, type(None)))
_BASE = (*_STAMP, _WORD, _MAYBE)
_LINK = ((bytes,), _WORD, (bytes,))

_T = TypeVar("_T")


class Held(NamedTuple):
    """What is kept of a module's types: over which base, and the mark of the very file."""

    origin: str
    mark: bytes


class Record(NamedTuple):
    """What we last made of one module. `status` is encoded, unchanged, failed or skipped."""

    stamp: Stamp
    base: str
    options: str
    status: str
    reason: str | None = None
    types: int | None = None
    size: int | None = None
    held: Held | None = None


class BaseRecord(NamedTuple):
    """Which .BTF a state of vmlinux had."""

    stamp: Stamp
    digest: str
    release: str | None = None


def default_path() -> str:
    """`index.sqlite` in $CACHE_DIRECTORY (systemd), $XDG_CACHE_HOME/btfd or ~/.cache/btfd."""
    folder = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if not folder:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = os.path.join(home, "btfd")
    return os.path.join(folder, "index.sqlite")


class Store:
    """The index; `path` None keeps it in memory."""

    def __init__(self, path: str | None) -> None:
        self.trouble: str | None = None
        self._db = self._open(path)

    def close(self) -> None:
        self._db.close()

    def modules(self, tree: str) -> dict[str, Record]:
        """Every module of a tree that we know."""

        def read() -> dict[str, Record]:
            rows = self._db.execute(
                "SELECT path, device, inode, size, mtime, ctime, base, options, status, reason,"
                " types, bytes, origin, mark FROM module WHERE tree = ?",
                (os.fsencode(tree),),
            )
            return {os.fsdecode(r[0]): _record(r[1:]) for r in rows if _fits(r, _MODULE)}

        return self._guard(read, {})

    def remember(self, tree: str, records: Mapping[str, Record]) -> None:
        """Replaces what is known of some modules, by path: all of it or, after a kill, nothing."""
        rows = [
            (
                os.fsencode(tree),
                os.fsencode(path),
                *_signed(record.stamp),
                record.base,
                record.options,
                record.status,
                record.reason,
                record.types,
                record.size,
                None if record.held is None else record.held.origin,
                None if record.held is None else record.held.mark,
            )
            for path, record in records.items()
        ]
        marks = ",".join("?" * 15)
        self._guard(
            lambda: self._write(f"INSERT OR REPLACE INTO module VALUES ({marks})", rows), None
        )

    def forget(self, tree: str, path: str) -> None:
        """Drops what is known of one module."""
        key = (os.fsencode(tree), os.fsencode(path))
        self._guard(
            lambda: self._write("DELETE FROM module WHERE tree = ? AND path = ?", [key]), None
        )

    def links(self, tree: str) -> dict[str, tuple[str, bytes]]:
        """Of modules with `.BTF_ids`: the build id, and the words that the linker wrote."""

        def read() -> dict[str, tuple[str, bytes]]:
            rows = self._db.execute(
                "SELECT path, build_id, words FROM link WHERE tree = ?", (os.fsencode(tree),)
            )
            return {os.fsdecode(r[0]): (r[1], r[2]) for r in rows if _fits(r, _LINK)}

        return self._guard(read, {})

    def remember_link(self, tree: str, path: str, link: tuple[str, bytes]) -> None:
        """Replaces the words known of one module; one link of it is known at a time."""
        row = (os.fsencode(tree), os.fsencode(path), *link)
        self._guard(
            lambda: self._write("INSERT OR REPLACE INTO link VALUES (?,?,?,?)", [row]), None
        )

    def base(self, tree: str) -> BaseRecord | None:
        """The base of a tree as we last saw it."""

        def read() -> BaseRecord | None:
            r = self._db.execute(
                "SELECT device, inode, size, mtime, ctime, digest, release FROM base"
                " WHERE tree = ?",
                (os.fsencode(tree),),
            ).fetchone()
            return BaseRecord(_unsigned(r[:5]), *r[5:]) if r and _fits(r, _BASE) else None

        return self._guard(read, None)

    def remember_base(self, tree: str, record: BaseRecord) -> None:
        """Replaces what is known of the base."""
        row = (os.fsencode(tree), *_signed(record.stamp), record.digest, record.release)
        self._guard(
            lambda: self._write("INSERT OR REPLACE INTO base VALUES (?,?,?,?,?,?,?,?)", [row]), None
        )

    def _write(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._db:
            self._db.executemany(sql, rows)

    def _guard(self, action: Callable[[], _T], otherwise: _T) -> _T:
        """A store in trouble must not stop the work: go on in memory."""
        try:
            return action()
        except sqlite3.Error as e:
            self.trouble = str(e)
            self._db.close()
            self._db = _create(":memory:")
        try:
            return action()
        except sqlite3.Error as e:
            self.trouble = str(e)
            return otherwise

    def _open(self, path: str | None) -> sqlite3.Connection:
        if path is None:
            return _create(":memory:")
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            db = _open_ours(path)
            if db is None:
                for end in ("", "-wal", "-shm"):
                    if os.path.lexists(path + end):
                        os.unlink(path + end)
                db = _create(path)
            return db
        except (OSError, sqlite3.Error) as e:
            self.trouble = str(e)
            return _create(":memory:")


def _signed(stamp: Stamp) -> tuple[int, ...]:
    """sqlite's integers have a sign; device and inode numbers have none."""
    return tuple(n if n < 1 << 63 else n - (1 << 64) for n in stamp)


def _unsigned(row: tuple[int, ...]) -> Stamp:
    """The stamp that `_signed` stored; times alone may be negative."""
    mask = (1 << 64) - 1
    return (row[0] & mask, row[1] & mask, row[2], row[3], row[4])


def _fits(row: tuple[Any, ...], kinds: tuple[tuple[type, ...], ...]) -> bool:
    """Whether a row is one that we wrote: sqlite lets any column hold anything."""
    return all(type(value) in kind for value, kind in zip(row, kinds, strict=True))


def _record(row: tuple[Any, ...]) -> Record:
    base, options, status, reason, types, size, origin, mark = row[5:]
    held = None if origin is None or mark is None else Held(origin, mark)
    return Record(_unsigned(row[:5]), base, options, status, reason, types, size, held)


def _open_ours(path: str) -> sqlite3.Connection | None:
    """An existing index of this version that holds together, or None."""
    if not os.path.exists(path):
        return None
    db = sqlite3.connect(path, timeout=10)
    try:
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        sound = db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        if sound and (application, version) == (APPLICATION, VERSION):
            _tune(db)
            return db
    except sqlite3.DatabaseError as e:
        if e.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
    db.close()
    return None


def _create(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10)
    _tune(db)
    db.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        f"{_SCHEMA} COMMIT;"
    )
    return db


def _tune(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
