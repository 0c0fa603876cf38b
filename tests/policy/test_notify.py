"""What systemd is told."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from btfd import notify
from btfd.notify import Wake
from tests.policy.fake import make_tree

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; from btfd.__main__ import main; from tests.policy.fake import FakeCore;"
    "sys.exit(main(sys.argv[1:], FakeCore()))"
)


def test_ready_alone_then_pings_then_stopping(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "дерево")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(30)
        environment = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "500000",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        command = [sys.executable, "-c", PROGRAM, "watch", str(tree)]
        with subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
        ) as process:
            told = [server.recv(4096) for _ in range(4)]
            process.send_signal(signal.SIGTERM)
            while told[-1] != b"STOPPING=1":
                told.append(server.recv(4096))
            assert process.wait(30) == 0
    assert told[0] == b"READY=1"
    assert set(told[1:-1]) == {b"WATCHDOG=1"}


def test_who_does_not_listen_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    monkeypatch.setattr(notify, "PATIENCE", 0.001)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        notifier = notify.Notifier()
        for _ in range(waiting + 5):
            notifier.alive()
        assert server.recv(100) == b"WATCHDOG=1"
        notifier.ready()
        server.setblocking(False)
        assert [server.recv(100) for _ in range(waiting + 1)][-1] == b"READY=1"


def test_wake_from_another_thread_and_from_a_signal_handler() -> None:
    wake = Wake()
    try:
        threading.Timer(0.05, wake.set).start()
        wake.wait(30)
        previous = signal.signal(signal.SIGUSR1, lambda *_: wake.set())
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            wake.wait(30)
        finally:
            signal.signal(signal.SIGUSR1, previous)
        wake.set()
        wake.set()
        wake.wait(None)
        wake.wait(0)
    finally:
        wake.close()
