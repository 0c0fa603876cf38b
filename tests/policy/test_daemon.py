"""The loop over a real directory and a core in memory."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from btfd import daemon, schedule
from btfd.bases import Bases
from btfd.daemon import Daemon
from btfd.errors import Problem
from btfd.journal import Journal
from btfd.kept import Kept
from btfd.memory import BURST
from btfd.store import Store
from btfd.tree import BuildTree
from tests.policy.fake import FakeCore, link, link_base, make_tree

PATIENCE = 120.0
M0, M1, M2 = (f"drivers/d{n}/m{n}.ko" for n in range(3))


class Run:
    """A daemon in a thread."""

    def __init__(
        self,
        root: Path,
        core: FakeCore,
        index: str | None = None,
        jobs: int = 2,
        use: str = "watcher",
        types: Path | None = None,
    ) -> None:
        self.root, self.core = root, core
        self._types = types
        self.journal = Journal()
        self.daemon: Daemon | None = None
        self.status: int | None = None
        self._index, self._jobs, self._use = index, jobs, use
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        bases = Bases(self.core)
        kept = Kept(str(self._types), self.core, bases.copy) if self._types else None
        tree = BuildTree(
            str(self.root), self.core, Store(self._index), use=self._use, bases=bases, kept=kept
        )
        self.daemon = Daemon(tree, self.core, self.journal, jobs=self._jobs)
        self.status = self.daemon.run()

    def kinds(self, path: str | None = None) -> list[str]:
        events = self.journal.since(None).events
        return [e.kind for e in events if path is None or e.path == path]

    def wait(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, self.journal.since(None).events
            assert self._thread.is_alive(), self.journal.since(None).events
            time.sleep(0.01)

    def current(self, module: str) -> bool:
        """Whether the file holds what its source and base ask for now."""
        path = str(self.root / module)
        try:
            made = self.core.read_btf(path)
            base = self.core.load_base(str(self.root / "vmlinux"))
            tree = BuildTree(str(self.root), self.core, Store(None))
            plain = FakeCore()
            again = plain.encode(
                path, base, tree.options.features, lang_exclude=(), threads=1, full=False
            )
        except Exception:
            return False
        return made == again.btf

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@contextmanager
def running(
    root: Path,
    core: FakeCore,
    index: str | None = None,
    jobs: int = 2,
    use: str = "watcher",
    types: Path | None = None,
) -> Iterator[Run]:
    """`types`: where types are kept."""
    run = Run(root, core, index, jobs, use, types)
    try:
        run.wait(lambda: "ready" in run.kinds())
        yield run
    finally:
        core.gate.set()
        run.stop()
    assert run.status == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


def once(root: Path, core: FakeCore, index: str | None) -> tuple[int, Journal]:
    journal = Journal()
    tree = BuildTree(str(root), core, Store(index))
    return Daemon(tree, core, journal, jobs=2).run(once=True), journal


def all_current(run: Run, modules: tuple[str, ...] = (M0, M1, M2)) -> bool:
    return all(run.current(m) for m in modules)


def test_once_encodes_all_and_a_second_time_nothing(root: Path, tmp_path: Path) -> None:
    core, index = FakeCore(), str(tmp_path / "index.sqlite")
    assert once(root, core, index)[0] == 0
    assert sum(core.encoded.values()) == 3
    bases = core.bases
    assert once(root, core, index)[0] == 0
    assert sum(core.encoded.values()) == 3
    assert core.bases == bases


def test_once_fails_when_a_module_fails_and_says_so_again(root: Path, tmp_path: Path) -> None:
    core, index = FakeCore(), str(tmp_path / "index.sqlite")
    (root / M1).write_text("stripped\n")
    for _ in range(2):
        status, journal = once(root, core, index)
        failures = [e for e in journal.since(None).events if e.kind == "failed"]
        assert status == 1
        assert [(e.path, e.fields["reason"]) for e in failures] == [(M1, "no DWARF")]
    assert core.encoded["m1.ko"] == 1


def test_once_without_base_fails(root: Path) -> None:
    (root / "vmlinux").unlink()
    status, journal = once(root, FakeCore(), None)
    assert status == 1
    assert "base-missing" in [e.kind for e in journal.since(None).events]


def test_once_waits_for_a_writer(root: Path) -> None:
    core = FakeCore()
    core.busy["m0.ko"] = 2
    assert once(root, core, None)[0] == 0
    assert core.encoded["m0.ko"] == 3


def test_a_changed_module_is_encoded_alone(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        run.wait(lambda: run.daemon is not None and run.daemon.work.scheduler.idle)
        before = dict(core.encoded)
        link(root, M1, "edited")
        run.wait(lambda: run.current(M1) and run.kinds(M1).count("encoded") == 2)
        time.sleep(0.3)
        assert core.encoded["m0.ko"] == before["m0.ko"]
        assert core.encoded["m1.ko"] == before["m1.ko"] + 1, "our own write made no work"


def test_a_module_is_encoded_before_it_has_settled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule.Scheduler.__init__, "__defaults__", (1e6,))
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        link(root, M1, "edited")
        run.wait(lambda: core.encoded["m1.ko"] == 2)
        assert run.daemon is not None
        scheduler = run.daemon.work.scheduler
        run.wait(lambda: not scheduler.occupied)
        assert M1 in scheduler.pending(), "it is encoded, and waits"
        assert not run.current(M1)


def test_what_was_encoded_before_it_settled_is_installed(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        link(root, M1, "edited")
        run.wait(lambda: run.kinds(M1) == ["encoded", "encoded"])
        assert run.current(M1)
        assert run.daemon is not None
        scheduler = run.daemon.work.scheduler
        run.wait(lambda: scheduler.idle)
    assert core.encoded["m1.ko"] == 2


def test_what_was_read_before_another_write_is_never_installed(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        core.gate.clear()
        link(root, M1, "early")
        run.wait(lambda: core.encoded["m1.ko"] == 2)
        link(root, M1, "late")
        run.wait(lambda: core.encoded["m1.ko"] == 3)
        core.gate.set()
        run.wait(lambda: run.current(M1))
        assert run.daemon is not None
        scheduler = run.daemon.work.scheduler
        run.wait(lambda: scheduler.idle)
    assert run.kinds(M1) == ["encoded", "encoded"]
    assert core.encoded["m1.ko"] == 3


def test_what_cannot_be_encoded_in_advance_is_told_once(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        (root / M1).unlink()
        (root / M1).write_text("stripped\n")
        run.wait(lambda: "failed" in run.kinds(M1))
        assert run.daemon is not None
        scheduler = run.daemon.work.scheduler
        run.wait(lambda: scheduler.idle)
    assert run.kinds(M1) == ["encoded", "failed"]


def test_new_base_redoes_all_the_same_base_nothing(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        link_base(root, "one")
        run.wait(lambda: "base-same" in run.kinds())
        assert set(core.encoded.values()) == {1}
        link_base(root, "two")
        run.wait(lambda: "base-changed" in run.kinds())
        run.wait(lambda: all_current(run))
        assert set(core.encoded.values()) == {2}
        run.wait(lambda: "base-types" in run.kinds())
        (told,) = (e for e in run.journal.since(None).events if e.kind == "base-types")
        assert told.path == str(root / "vmlinux")
        assert told.fields["counts"] == {"changed": 1, "added": 0, "removed": 0}
        assert [change["layer"] for change in told.fields["feedback"]] == ["base"]


def test_the_first_edit_after_a_new_base_has_feedback(root: Path) -> None:
    def told() -> list[Any]:
        events = run.journal.since(None).events
        return [e.fields["feedback"] for e in events if (e.kind, e.path) == ("encoded", M1)]

    with running(root, FakeCore()) as run:
        run.wait(lambda: all_current(run))
        link_base(root, "two")
        run.wait(lambda: len(told()) == 2)
        assert told()[1] is None
        run.wait(lambda: all_current(run))
        link(root, M1, "edited")
        run.wait(lambda: len(told()) == 3)
        assert [change["name"] for change in told()[2]] == ["s"]


def test_a_lone_edit_is_told_its_full_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = FakeCore()

    def sizes(module: str) -> list[int | None]:
        events = run.journal.since(None).events
        return [e.fields["full_bytes"] for e in events if (e.kind, e.path) == ("encoded", module)]

    with running(root, core) as run:
        # The echoes of our own installs are still to come.
        run.wait(lambda: run.kinds().count("encoded") == 3)
        link(root, M1, "edited")
        run.wait(lambda: len(sizes(M1)) == 2)
        assert sizes(M1)[1] == 100
        monkeypatch.setattr("btfd.encode.FULL_UP_TO", 5)
        link(root, M1, "edited and large")
        run.wait(lambda: len(sizes(M1)) == 3)
        assert sizes(M1)[2] is None
        link_base(root, "two")
        run.wait(lambda: len(sizes(M1)) == 4)
        assert sizes(M1)[3] is None


def test_a_module_in_trouble_leaves_an_edit_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FAILED_FIRST", 300.0)
    core = FakeCore(denied={"m0.ko"})
    with running(root, core) as run:
        run.wait(lambda: run.kinds(M0) == ["failed"] and run.kinds().count("encoded") == 2)
        link(root, M1, "edited")
        run.wait(lambda: run.kinds(M1).count("encoded") == 2)
        told = [e.fields["full_bytes"] for e in run.journal.since(None).events if e.path == M1]
        assert told[1] == 100


def test_after_a_burst_memory_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle: list[int] = []
    core = FakeCore()
    monkeypatch.setattr("btfd.memory.trim", lambda: idle.append(sum(core.encoded.values())))
    root = make_tree(tmp_path / "tree", BURST + 1)
    with running(root, core) as run:
        run.wait(lambda: idle == [BURST + 1])
        link(root, M1, "again")
        run.wait(lambda: core.encoded["m1.ko"] == 2 and run.current(M1))
    assert idle == [BURST + 1]


def test_a_newer_base_cancels_what_is_overtaken(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", modules=20)
    core = FakeCore()
    core.gate.clear()
    with running(root, core, jobs=2) as run:
        run.wait(lambda: sum(core.encoded.values()) == 2)
        link_base(root, "two")
        run.wait(lambda: "base-changed" in run.kinds())
        core.gate.set()
        modules = tuple(f"drivers/d{n}/m{n}.ko" for n in range(20))
        run.wait(lambda: all_current(run, modules))
        assert sum(core.encoded.values()) == 22, "only the two that were running were in vain"


def test_the_just_edited_module_goes_first(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", modules=20)
    core = FakeCore()
    core.gate.clear()
    with running(root, core, jobs=1) as run:
        run.wait(lambda: len(core.order) == 1)
        link(root, "drivers/d17/m17.ko", "edited")
        time.sleep(0.3)
        core.gate.set()
        run.wait(lambda: len(core.order) >= 20)
        assert core.order[1] == "m17.ko"


def test_base_goes_and_comes_back(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        (root / "vmlinux").unlink()
        run.wait(lambda: "base-missing" in run.kinds())
        link(root, M0, "edited meanwhile")
        link_base(root, "two")
        run.wait(lambda: all_current(run))


def test_modules_that_come_with_a_directory(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        for n in range(10):
            link(root, f"new/a/b/c{n}/x{n}.ko", f"fresh {n}")
        run.wait(lambda: all_current(run, tuple(f"new/a/b/c{n}/x{n}.ko" for n in range(10))))


def test_replaced_while_encoding(root: Path) -> None:
    core = FakeCore()
    core.gate.clear()
    with running(root, core) as run:
        run.wait(lambda: core.encoded["m0.ko"] == 1)
        link(root, M0, "newer")
        core.gate.set()
        run.wait(lambda: all_current(run))


def test_a_module_outside_modules_order_is_left_alone_and_named(root: Path) -> None:
    (root / "modules.order").write_text(f"{M0}\n")
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: run.current(M0))
        link(root, M2, "unlisted")
        run.wait(lambda: "ignored" in run.kinds(M2))
        (root / "modules.order").write_text(f"{M0}\n{M2}\n")
        run.wait(lambda: run.current(M2))


def test_tree_deleted_and_built_again(root: Path) -> None:
    import shutil

    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        for generation in range(3):
            shutil.rmtree(root)
            make_tree(root)
            link(root, M0, f"generation {generation}")
            run.wait(lambda: all_current(run))


LIMITED = """
import sys, threading
from pathlib import Path
from tests.policy.fake import FakeCore, link
from tests.policy.test_daemon import running
open("/proc/sys/user/max_inotify_watches", "w").write("5")
root = Path(sys.argv[1])
with running(root, FakeCore()) as run:
    run.wait(lambda: "lost" in run.kinds() and run.kinds().count("encoded") == 20)
    link(root, "drivers/d19/m19.ko", "edited")
    run.wait(lambda: run.kinds("drivers/d19/m19.ko").count("encoded") == 2)
    assert run.kinds().count("lost") == 1, "said once, not at every poll"
print("polled")
"""


def test_beyond_the_watch_limit_the_tree_is_polled(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", modules=20)
    command = ["unshare", "-Ur", sys.executable, "-c", LIMITED, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("no user namespaces here: " + done.stderr.strip())
    assert done.stdout == "polled\n", done.stderr


def test_an_overflow_heals(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", modules=20)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    modules = tuple(f"drivers/d{n}/m{n}.ko" for n in range(20))
    with running(root, FakeCore()) as run:
        run.wait(lambda: all_current(run, modules))
        assert run.daemon is not None
        assert run.daemon.watcher is not None
        with run.daemon.watcher._tables:
            for n in range(limit // 2 + 2000):
                (root / f"drivers/d{n % 20}/x.o").touch()
                (root / f"drivers/d{n % 20}/x.o").unlink()
            for n in range(20):
                link(root, modules[n], f"edited {n}")
        run.wait(lambda: "lost" in run.kinds())
        run.wait(lambda: all_current(run, modules))


def test_a_full_disk_is_told_once_and_overcome(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FAILED_FIRST", 0.05)
    monkeypatch.setattr(schedule.Breaker, "FIRST", 0.05)
    monkeypatch.setattr(schedule.Breaker, "LAST", 0.2)
    core = FakeCore()
    core.full = True
    with running(root, core) as run:
        run.wait(lambda: sum(core.encoded.values()) > 6)
        assert run.kinds().count("failed") == 3, "once a module"
        assert run.daemon is not None
        assert sorted(run.daemon.wait().result(PATIENCE)) == [M0, M1, M2], "no need to wait for it"
        core.full = False
        run.wait(lambda: all_current(run))
        assert run.daemon.wait().result(PATIENCE) == []


def test_wait_does_not_hang_on_a_full_disk(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", modules=20)
    core = FakeCore()
    core.full = True
    with running(root, core, jobs=1) as run:
        run.wait(lambda: run.kinds().count("failed") >= 3)
        assert run.daemon is not None
        assert len(run.daemon.wait().result(PATIENCE)) == 20
        assert sum(core.encoded.values()) < 20, "not all were tried"
        core.full = False
        run.wait(lambda: run.daemon is not None and run.daemon.wait().result(PATIENCE) == [])


def test_one_file_without_permission_does_not_hold_up_the_others(root: Path) -> None:
    core = FakeCore()
    core.denied.add("m1.ko")
    with running(root, core) as run:
        run.wait(lambda: all_current(run, (M0, M2)))
        link(root, M0, "edited")
        run.wait(lambda: run.current(M0))
        assert core.encoded["m1.ko"] < 4, "not in a hot loop"
        core.denied.clear()
        link(root, M1, "and now with permission")
        run.wait(lambda: run.current(M1))


def test_wait_is_a_barrier(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        assert run.daemon is not None
        run.wait(lambda: all_current(run))
        for n in range(30):
            link(root, M0, f"first {n}")
            link(root, M2, f"second {n}")
            assert run.daemon.wait(None if n % 2 else ["m2", str(root / M0)]).result(PATIENCE) == []
            assert run.current(M0)
            assert run.current(M2)
            if n % 10 == 9:
                link_base(root, f"base {n}")
                assert run.daemon.wait().result(PATIENCE) == []
                assert all_current(run)


def test_wait_names_what_failed_and_what_is_unknown(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        assert run.daemon is not None
        run.wait(lambda: all_current(run))
        (root / M1).write_text("nothing\n")
        assert run.daemon.wait().result(PATIENCE) == [M1]
        assert run.daemon.wait(["m0"]).result(PATIENCE) == []
        with pytest.raises(Problem, match="no such module"):
            run.daemon.wait(["m7"]).result(PATIENCE)
        (root / "vmlinux").unlink()
        link(root, M0, "edited")
        assert M0 in run.daemon.wait().result(PATIENCE)
        daemon = run.daemon
    with pytest.raises(Problem, match="not followed any more"):
        daemon.wait().result(PATIENCE)


def test_a_wait_that_is_given_up_is_forgotten(root: Path) -> None:
    core = FakeCore()
    with running(root, core) as run:
        assert run.daemon is not None
        run.wait(lambda: all_current(run))
        core.gate.clear()
        link(root, M0, "slow")
        given_up = run.daemon.wait()
        run.wait(lambda: core.encoded["m0.ko"] == 2)
        assert given_up.cancel()
        run.daemon.wake.set()
        run.wait(lambda: run.daemon is not None and not run.daemon._barriers)


def test_two_trees_that_share_a_module_by_a_link(root: Path, tmp_path: Path) -> None:
    other = make_tree(tmp_path / "other", modules=1)
    link_base(other, "another base")
    (other / M0).unlink()
    (other / M0).symlink_to(root / M0)
    (other / "drivers/far").symlink_to(root / "drivers/d1")
    (other / "modules.order").write_text(f"{M0}\ndrivers/far/m1.ko\n")
    core, far = FakeCore(), FakeCore()
    with running(root, core) as run, running(other, far) as there:
        run.wait(lambda: all_current(run))
        link(root, M0, "edited")
        run.wait(lambda: all_current(run))
        assert there.daemon is not None
        assert there.daemon.wait().result(PATIENCE) == []
    assert not far.encoded, "each module is encoded by the tree that it lies in"


def test_a_tree_within_a_tree_is_its_own(root: Path) -> None:
    make_tree(root / "build")
    core = FakeCore()
    with running(root, core) as run:
        run.wait(lambda: all_current(run))
        assert run.daemon is not None
        assert len(run.daemon.tree.modules()) == 3


def test_one_tree_has_one_btfd(root: Path) -> None:
    with running(root, FakeCore()), pytest.raises(Problem, match="another btfd follows this tree"):
        once(root, FakeCore(), None)
    assert once(root, FakeCore(), None)[0] == 0


def test_fatal_gates_end_it(root: Path) -> None:
    with open(root / "include/config/auto.conf", "a") as f:
        f.write("CONFIG_DEBUG_INFO_SPLIT=y\n")
    status, journal = once(root, FakeCore(), None)
    assert status == 1
    assert journal.since(None).events[0].fields["fatal"]


def test_a_configuration_without_btf_lets_the_loop_sleep(root: Path) -> None:
    with open(root / "include/config/auto.conf", "a") as f:
        f.write("CONFIG_DEBUG_INFO_SPLIT=y\n")
    tree = BuildTree(str(root), FakeCore(), Store(None), use="watcher")
    daemon = Daemon(tree, FakeCore(), Journal(), patient=True)
    daemon._judge_gates()
    daemon._look_at_base(scan=False)
    daemon._changed(str(root / M0), 10.0)
    assert daemon._sleep(11.0, None) > 0.0, "what is due cannot be done"


def test_a_loop_that_hangs_is_known_by_its_silence(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    with running(root, FakeCore()) as run:
        loop = run.daemon
        assert loop is not None
        assert loop.turns()
        hanging = loop.call(lambda: release.wait(PATIENCE))
        run.wait(hanging.running)
        assert loop.turns(), "it may be busy"
        monkeypatch.setattr(daemon, "STUCK", 0.0)
        assert not loop.turns()
        assert loop.hears(), "its reader is well"
        monkeypatch.undo()
        release.set()
        assert hanging.result(PATIENCE)
        run.wait(loop.turns)
    assert loop.turns(), "nobody hangs who has ended"
