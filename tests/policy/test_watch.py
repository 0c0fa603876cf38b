"""The watcher over real inotify. Truth is what a walk finds afterwards, never a count of events."""

import inspect
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers import inotify_c

from btfd.daemon import interesting
from btfd.mounts import Mounts, parse, why_deaf
from btfd.signs import Appeared, Changed, Lost, Synced, WatchEvent
from btfd.watch import Watcher

PATIENCE = 120.0


class Log:
    """A watcher whose events are collected as a consumer would: Appeared is walked."""

    def __init__(self, root: Path) -> None:
        self.woken = threading.Event()
        self.watcher = Watcher(str(root), interesting, self.woken.set)
        self.events: list[WatchEvent] = []
        self.seen: set[str] = set()
        self.watcher.start()

    def pump(self) -> None:
        for event in self.watcher.take():
            self.events.append(event)
            match event:
                case Changed(path):
                    self.seen.add(path)
                case Appeared(path):
                    self._walk(path)
                case Lost():
                    self.watcher.rewatch()
                    self._walk(self.watcher.root)

    def _walk(self, top: str) -> None:
        for folder, _, files in os.walk(top):
            self.seen.update(os.path.join(folder, f) for f in files if f.endswith(".ko"))

    def wait(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, self.events[-20:]
            self.woken.wait(0.05)
            self.woken.clear()
            self.pump()

    def wait_for(self, *paths: Path) -> None:
        names = {str(p) for p in paths}
        self.wait(lambda: names <= self.seen)

    def synced(self, token: str) -> None:
        self.watcher.sync(token)
        self.wait(lambda: Synced(token) in self.events)

    def lost(self) -> list[str]:
        return [e.reason for e in self.events if isinstance(e, Lost)]

    def probe(self, folder: Path, name: str) -> None:
        """A write in this directory is seen: it is watched."""
        self.pump()
        self.seen.clear()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
        self.wait_for(folder / name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = (tmp_path / "tree").resolve()
    path.mkdir()
    return path


@pytest.fixture
def log(root: Path) -> Iterator[Log]:
    log = Log(root)
    yield log
    log.watcher.stop()
    assert not log.watcher.alive


def test_the_private_parts_of_watchdog_are_as_we_know_them() -> None:
    fd = inotify_c.InotifyFD
    assert list(inspect.signature(fd._create_inotify_fd).parameters) == []
    assert list(inspect.signature(fd._get_or_create_watch).parameters) == ["self", "path", "mask"]
    assert list(inspect.signature(fd._remove_watch).parameters) == ["self", "wd"]
    assert list(inspect.signature(fd.handle_event).parameters) == ["self", "event"]
    assert "self.handle_event(event)" in inspect.getsource(fd.run)
    assert "inotify_rm_watch" in vars(inotify_c)
    assert list(inspect.signature(fd.read_events).parameters) == ["self", "event_buffer_size"]
    made = fd()
    try:
        assert {"_inotify_fd", "_lock", "_closed", "_watch_for_wd", "_poller"} <= set(vars(made))
        assert isinstance(made._watch_for_wd, dict)
    finally:
        for descriptor in (made._inotify_fd, made._kill_r, made._kill_w):
            os.close(descriptor)


def test_the_descriptor_is_not_inherited(log: Log) -> None:
    assert log.watcher._reader is not None
    assert not os.get_inheritable(log.watcher._reader._inotify_fd)


def test_only_the_write_side_of_interesting_files(log: Log, root: Path) -> None:
    (root / "a.o").write_bytes(b"x")
    (root / "a.ko").write_bytes(b"x")
    log.wait_for(root / "a.ko")
    (root / "a.ko").read_bytes()
    (root / "a.ko").chmod(0o600)
    (root / "b.ko").write_bytes(b"x")
    log.wait_for(root / "b.ko")
    assert log.events == [Changed(str(root / "a.ko")), Changed(str(root / "b.ko"))]


def test_rename_and_delete(log: Log, root: Path) -> None:
    (root / "tmp").write_bytes(b"x")
    (root / "tmp").rename(root / "a.ko")
    log.wait_for(root / "a.ko")
    log.seen.clear()
    (root / "a.ko").rename(root / "b.ko")
    log.wait_for(root / "a.ko", root / "b.ko")
    log.seen.clear()
    (root / "b.ko").unlink()
    log.wait_for(root / "b.ko")


def test_links_are_seen_although_nothing_is_closed(log: Log, root: Path) -> None:
    (root / "a.o").write_bytes(b"x")
    (root / "b.ko").symlink_to(root / "a.o")
    os.link(root / "a.o", root / "a.ko")
    log.wait_for(root / "a.ko", root / "b.ko")


def test_names_that_are_not_utf8(log: Log, root: Path) -> None:
    folder = os.fsencode(root) + b"/\xd0\xbc\xff"
    os.mkdir(folder)
    with open(folder + b"/\xfe.ko", "wb") as f:
        f.write(b"x")
    log.wait(lambda: os.fsdecode(folder + b"/\xfe.ko") in log.seen)


def test_a_symlinked_root_is_resolved(tmp_path: Path, root: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    log = Log(tmp_path / "link")
    try:
        log.probe(root, "vmlinux.ko")
    finally:
        log.watcher.stop()


def test_git_and_conftests_are_not_watched(root: Path) -> None:
    for name in (".git/objects/aa", ".tmp_12", "Documentation/admin", "drivers/Documentation"):
        (root / name).mkdir(parents=True)
    log = Log(root)
    try:
        assert log.watcher.directories == 3  # the root, drivers, drivers/Documentation
        (root / ".tmp_13").mkdir()
        log.probe(root, "a.ko")
        assert log.watcher.directories == 3
    finally:
        log.watcher.stop()


def test_deep_directories_made_at_once(log: Log, root: Path) -> None:
    made = []
    for n in range(100):
        folder = root / f"a{n}/b/c"
        folder.mkdir(parents=True)
        (folder / "m.ko").write_bytes(b"x")
        made.append(folder / "m.ko")
    log.wait_for(*made)
    log.probe(root / "a50/b/c", "later.ko")


def test_the_same_directories_removed_and_made_20_times(log: Log, root: Path) -> None:
    for n in range(20):
        for d in range(30):
            folder = root / f"d{d}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / f"m{n}.ko").write_bytes(b"x")
    log.wait_for(*(root / f"d{d}/m19.ko" for d in range(30)))
    for d in range(30):
        log.probe(root / f"d{d}", "probe.ko")
    assert log.watcher.directories == 31


def test_a_directory_moved_out_and_another_in_its_place(
    log: Log, root: Path, tmp_path: Path
) -> None:
    (root / "build/deep").mkdir(parents=True)
    log.probe(root / "build/deep", "a.ko")
    (root / "build").rename(tmp_path / "elsewhere")
    (root / "build/deep").mkdir(parents=True)
    shutil.rmtree(root / "build")
    shutil.rmtree(tmp_path / "elsewhere")
    log.probe(root / "build/deep", "b.ko")
    assert log.watcher.alive


def test_a_directory_moved_out_no_longer_reports(log: Log, root: Path, tmp_path: Path) -> None:
    log.probe(root / "build", "a.ko")
    (root / "build").rename(tmp_path / "elsewhere")
    log.wait(lambda: log.watcher.directories == 1)
    log.pump()
    log.seen.clear()
    (tmp_path / "elsewhere/late.ko").write_bytes(b"x")
    log.probe(root, "c.ko")
    assert log.seen == {str(root / "c.ko")}


def test_a_directory_renamed_within_reports_under_its_new_name(log: Log, root: Path) -> None:
    log.probe(root / "old/sub", "a.ko")
    (root / "old").rename(root / "new")
    log.wait_for(root / "new/sub/a.ko")
    log.probe(root / "new/sub", "b.ko")
    assert not log.lost()


def test_overflow_is_lost_and_heals(log: Log, root: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    folders = [root / f"d{n}" for n in range(20)]
    for folder in folders:
        folder.mkdir()
    log.wait(lambda: log.watcher.directories == 21)
    # A reader that stands still: it waits for the tables, as if the process were stopped.
    with log.watcher._tables:
        for n in range(limit // 2 + 2000):
            path = folders[n % 20] / f"{n}.o"
            path.touch()
            path.unlink()
        last = folders[3] / "last.ko"
        last.write_bytes(b"x")
    log.wait(lambda: "the kernel's event queue overflowed" in log.lost())
    log.wait_for(last)
    for folder in folders:
        log.probe(folder, "after.ko")
    assert log.watcher.directories == 21


def test_a_storm_loses_no_module(log: Log, root: Path) -> None:
    modules = []
    for n in range(6000):
        folder = root / f"s{n % 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"{n}.o").write_bytes(b"x")
        (folder / f".{n}.o.cmd").write_bytes(b"x")
        if n % 20 == 0:
            (folder / f"{n}.ko").write_bytes(b"x")
            modules.append(folder / f"{n}.ko")
    log.wait_for(*modules)


def test_root_deleted_and_made_again(log: Log, root: Path) -> None:
    (root / "sub").mkdir()
    assert log.watcher.rooted
    shutil.rmtree(root)
    log.wait(lambda: bool(log.lost()))
    assert not log.watcher.check_root()
    root.mkdir()
    assert not log.watcher.rooted, "nothing will tell that it is back: somebody must look"
    log.watcher.check_root()
    log.probe(root / "sub", "a.ko")
    assert log.watcher.rooted


def test_root_moved_away_and_back(log: Log, root: Path) -> None:
    root.rename(root.with_name("away"))
    log.wait(lambda: bool(log.lost()))
    (root.with_name("away") / "late.ko").write_bytes(b"x")
    root.with_name("away").rename(root)
    log.watcher.check_root()
    log.wait_for(root / "late.ko")
    log.probe(root, "b.ko")


def test_a_dead_reader_says_so(log: Log, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mask: int, folder: bytes, name: bytes) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(log.watcher, "_directory", fail)
    (root / "d").mkdir()
    log.wait(lambda: bool(log.lost()))
    assert log.watcher.dead is not None
    log.wait(lambda: not log.watcher.alive)


def test_pending_events_are_kept_once(root: Path) -> None:
    watcher = Watcher(str(root), interesting, lambda: None)
    watcher.start()
    try:
        for _ in range(200):
            (root / "a.ko").write_bytes(b"x")
            (root / "b.ko").write_bytes(b"x")
        end = time.monotonic() + PATIENCE
        while len(watcher._pending) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert set(watcher.take()) == {Changed(str(root / "a.ko")), Changed(str(root / "b.ko"))}
    finally:
        watcher.stop()


def test_a_barrier_comes_after_what_was_closed_before_it(log: Log, root: Path) -> None:
    (root / "d").mkdir()
    log.synced("start")
    for n in range(2000):
        path = root / "d" / f"{n}.ko"
        path.write_bytes(b"x")
        log.watcher.sync(str(n))
    log.wait(lambda: Synced("1999") in log.events)
    assert log.events[log.events.index(Synced("start")) + 1 :] == [
        event for n in range(2000) for event in (Changed(str(root / f"d/{n}.ko")), Synced(str(n)))
    ]


def test_a_later_mention_does_not_move_an_earlier_one_behind_the_barrier(
    log: Log, root: Path
) -> None:
    changed = Changed(str(root / "a.ko"))
    with log.watcher._tables:  # nobody takes meanwhile
        log.watcher._post(changed)
        log.watcher._post_synced("one")
        log.watcher._post(changed)
    assert log.watcher.take() == [changed, Synced("one"), changed]


def test_a_barrier_survives_an_overflow(log: Log, root: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with log.watcher._tables:
        for _ in range(limit // 2 + 2000):
            (root / "x.o").touch()
            (root / "x.o").unlink()
        (root / "last.ko").write_bytes(b"x")
        log.watcher.sync("after")
    log.wait(lambda: Synced("after") in log.events)
    assert any(isinstance(e, Lost) for e in log.events[: log.events.index(Synced("after"))])
    assert str(root / "last.ko") in log.seen
    log.synced("again")


def test_a_heartbeat_is_heard_while_the_reader_lives(log: Log, root: Path) -> None:
    assert log.watcher.hears()
    log.synced("beat")
    assert log.watcher.hears()
    log.synced("beat again")
    with log.watcher._tables:  # a reader that hangs
        assert log.watcher.hears()
        assert not log.watcher.hears()
    log.synced("it goes on")
    assert log.watcher.hears()


def test_a_lost_descriptor_is_a_dead_reader(log: Log, root: Path) -> None:
    assert log.watcher._reader is not None
    fd = log.watcher._reader._inotify_fd
    with open(os.devnull) as other:
        os.dup2(other.fileno(), fd)  # poll says readable, read says nothing: for ever
        (root / "a.ko").write_bytes(b"x")
    keep = os.dup(fd)
    os.close(fd)
    log.wait(lambda: log.watcher.dead is not None)
    os.dup2(keep, fd)
    os.close(keep)
    assert not log.watcher.alive
    assert not log.watcher.hears()


def test_tables_do_not_grow_with_directories_that_come_and_go(log: Log, root: Path) -> None:
    assert log.watcher._reader is not None
    for _ in range(50):
        for d in range(20):
            (root / f"d{d}").mkdir()
        log.watcher.rewatch()
        for d in range(20):
            (root / f"d{d}").rmdir()
        log.watcher.rewatch()
    log.synced("all")
    log.watcher.rewatch()
    log.synced("pruned")
    assert len(log.watcher._path_of) == len(log.watcher._wd_of) == 1
    assert len(log.watcher._retired) <= 20
    assert len(log.watcher._reader._watch_for_wd) == 1


MOUNTINFO = rb"""22 1 0:20 / / rw - ext4 /dev/root rw
30 22 0:30 / /home/a\040b rw shared:1 - nfs4 server:/x rw
31 22 0:31 / /home/a\040b/c rw shared:1 master:2 - fuse.sshfs x rw
torn line
"""


def test_mounts_are_read() -> None:
    assert parse(MOUNTINFO) == [
        (22, b"/", "ext4"),
        (30, b"/home/a b", "nfs4"),
        (31, b"/home/a b/c", "fuse.sshfs"),
    ]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "ceph"])
def test_what_others_write_is_not_heard(kind: str) -> None:
    assert kind in (why_deaf(kind) or "")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs"])
def test_local_file_systems_are_heard(kind: str) -> None:
    assert why_deaf(kind) is None


def test_a_foreign_mount_below_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(MOUNTINFO)
    assert Mounts(b"/home", str(table)).deaf == (
        "/home/a b: on nfs4, what another machine writes gives no event"
    )
    assert Mounts(b"/opt", str(table)).deaf is None


def in_namespace(program: str, root: Path, *flags: str) -> str:
    """Runs a program in a user namespace of its own, where limits and mounts are its own too."""
    command = ["unshare", *flags, sys.executable, "-c", program, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode and "unshare" in done.stderr + done.stdout:
        pytest.skip("no user namespaces here: " + done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


MOUNTED = """
import subprocess, sys
from pathlib import Path
from tests.policy.test_watch import Log
root = Path(sys.argv[1])
(root / "sub").mkdir()
log = Log(root)
log.probe(root / "sub", "a.ko")
for place in (root / "sub", root):
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    log.wait(lambda: bool(log.lost()))
    log.probe(place, "b.ko")
    log.events.clear()
    subprocess.run(["umount", place], check=True)
    log.wait(lambda: bool(log.lost()))
    log.probe(place, "c.ko")
log.watcher.stop()
print("heard")
"""


def test_mounted_over_and_unmounted(root: Path) -> None:
    assert in_namespace(MOUNTED, root, "-Urm") == "heard\n"


NO_DESCRIPTOR = """
import sys
from pathlib import Path
from btfd.daemon import interesting
from btfd.signs import Appeared, Synced
from btfd.watch import Watcher
limit = Path("/proc/sys/user/max_inotify_instances")
limit.write_text("0")
w = Watcher(sys.argv[1], interesting, lambda: None)
w.start()
assert "descriptor" in w.polled and "user.max_inotify_instances=" in w.advice(), w.polled
assert w.alive and w.hears()
w.sync("now")
assert w.take() == [Appeared(w.root), Synced("now")], "the barrier is a look at everything"
limit.write_text("8")
w.rewatch()
assert w.polled is None and w.advice() is None
w.stop()
print("polled")
"""


def test_without_a_descriptor_the_tree_is_polled(root: Path) -> None:
    assert in_namespace(NO_DESCRIPTOR, root, "-Ur") == "polled\n"


LIMITED = """
import sys
from btfd.daemon import interesting
from btfd.signs import Lost
from btfd.watch import Watcher
sysctl = "/proc/sys/user/max_inotify_watches"
open(sysctl, "w").write("20")
w = Watcher(sys.argv[1], interesting, lambda: None)
w.start()
assert w.limited and "limit" in w.polled, w.directories
assert any(isinstance(e, Lost) and "limit" in e.reason for e in w.take())
assert w.alive and w.hears()
name, enough = w.advice().split()[1].split("=")
assert name == "user.max_inotify_watches", name
open(sysctl, "w").write(enough)
w.rewatch()
assert w.polled is None and w.directories == 51, "what was advised suffices"
w.stop()
print("limited")
"""


def test_the_watch_limit_is_lost(root: Path) -> None:
    for n in range(50):
        (root / f"d{n}").mkdir()
    assert in_namespace(LIMITED, root, "-Ur") == "limited\n"
