"""Memory pressure, as systemd passes it on."""

import base64
import os
import threading
from pathlib import Path

import pytest

from btfd.pressure import Pressure


def test_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", os.devnull, "/nowhere"):
        monkeypatch.setenv("MEMORY_PRESSURE_WATCH", value)
        pressure = Pressure(lambda: None)
        assert not pressure.watching
        pressure.close()


def test_each_word_of_a_pipe_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pressure")
    monkeypatch.setenv("MEMORY_PRESSURE_WATCH", str(tmp_path / "pressure"))
    monkeypatch.delenv("MEMORY_PRESSURE_WRITE", raising=False)
    called = threading.Semaphore(0)
    pressure = Pressure(called.release, pause=0.0)
    assert pressure.watching
    with open(tmp_path / "pressure", "wb", buffering=0) as f:
        for _ in range(3):
            f.write(b"x")
            assert called.acquire(timeout=60)
    pressure.close()


def test_the_kernel_takes_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real file of the whole machine, with a threshold that nothing here reaches."""
    if not os.access("/proc/pressure/memory", os.W_OK):
        pytest.skip("this kernel has no pressure stall information to write to")
    monkeypatch.setenv("MEMORY_PRESSURE_WATCH", "/proc/pressure/memory")
    words = base64.b64encode(b"some 1900000 2000000\0").decode()
    monkeypatch.setenv("MEMORY_PRESSURE_WRITE", words)
    pressure = Pressure(lambda: None)
    assert pressure.watching
    pressure.close()
