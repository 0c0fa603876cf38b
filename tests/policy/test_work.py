"""How much is begun at once."""

from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from btfd.journal import Journal
from btfd.store import Store
from btfd.tree import BuildTree
from btfd.work import Work
from tests.policy.fake import FakeCore, make_tree


class Waiting(Executor):
    """Threads that never get round to it."""

    def __init__(self) -> None:
        self.begun = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.begun += 1
        return Future()


@pytest.mark.parametrize(("once", "begun"), [(False, 2), (True, 3)])
def test_no_thread_waits_for_the_loop_where_nobody_edits(
    tmp_path: Path, once: bool, begun: int
) -> None:
    core, pool = FakeCore(), Waiting()
    tree = BuildTree(str(make_tree(tmp_path / "tree", 5)), core, Store(None), use="watcher")
    tree.look_at_base()
    work = Work(tree, core, Journal(), lambda: None, jobs=2)
    work.once = once
    for stale in tree.stale():
        work.scheduler.find(stale.path, stale.reason)
    assert work.dispatch(pool, 0.0)
    assert pool.begun == begun
    assert work.next_due() is None, "the next outcome has to come first"
