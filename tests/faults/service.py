"""The program under test, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.tree import Tree

#: How long a test that fails may take.
PATIENCE = float(os.environ.get("BTFD_TEST_PATIENCE", "120"))
PROJECT = Path(__file__).resolve().parents[2]


class Service:
    """`btfd watch TREE`, its events collected."""

    def __init__(
        self,
        tree: Tree,
        state: Path,
        *,
        wrapper: Sequence[str] = (),
        program: str | None = None,
        env: dict[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.tree = tree
        start = ["-m", "btfd"] if program is None else ["-c", program]
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, *start, "watch", os.fspath(tree.root), "--json", *arguments],
            env={**os.environ, "XDG_CACHE_HOME": str(state), **(env or {})},
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.events: list[dict[str, Any]] = []
        self.errors = b""
        self._readers = [
            threading.Thread(target=self._read_events),
            threading.Thread(target=self._read_errors),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def kinds(self) -> list[str]:
        return [event["event"] for event in list(self.events)]

    def count(self, kind: str) -> int:
        return self.kinds().count(kind)

    def wait(self, what: Callable[[], bool], *, ended: bool = False) -> None:
        """Until it is so; `ended`: even if the process ends meanwhile."""
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, (self.events[-20:], self.errors)
            assert ended or self.process.poll() is None, (self.events[-20:], self.errors)
            time.sleep(0.02)

    def wait_for_any(self) -> None:
        """Until it has said something."""
        self.wait(lambda: bool(self.events))

    def wait_for_more(self, kind: str, than: int) -> None:
        """Until it has said this more often than so many times."""
        self.wait(lambda: self.count(kind) > than)

    def wait_for_either(self, what: Callable[[], bool], kind: str) -> None:
        """Until it is so, or the service has said this."""
        self.wait(lambda: what() or self.count(kind) > 0)

    def wait_ready(self) -> None:
        self.wait(lambda: "ready" in self.kinds())

    def wait_right(self) -> None:
        """Until every module in the tree has the BTF that its bytes ask for; twice, to be sure."""
        wrong = self.tree.wrong()
        end = time.monotonic() + PATIENCE
        while wrong:
            assert time.monotonic() < end, (dict(list(wrong.items())[:9]), self.events[-9:])
            assert self.process.poll() is None, (self.events[-20:], self.errors)
            time.sleep(0.1)
            wrong = self.tree.wrong(path for path in wrong if path.suffix == ".ko")
            wrong = wrong or self.tree.wrong()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The process stands still, as under SIGSTOP or in a suspended machine."""
        self.signal(signal.SIGSTOP)
        status = Path(f"/proc/{self.process.pid}/stat")
        self.wait(lambda: status.read_text().rsplit(")", 1)[1].split()[0] == "T")
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """As the out-of-memory killer does it."""
        self.process.kill()
        self._join()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self._join()

    def _join(self) -> int:
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status


@contextmanager
def serving(tree: Tree, state: Path, **options: Any) -> Iterator[Service]:
    """A service that looks after the tree; ends with status 0, and with nothing wrong."""
    service = Service(tree, state, **options)
    try:
        service.wait_ready()
        service.wait_right()
        yield service
        service.wait_right()
        assert service.stop() == 0, service.errors
    finally:
        if service.process.poll() is None:
            service.kill()
