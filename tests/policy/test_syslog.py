"""What the journal of systemd is told."""

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from btfd import syslog
from btfd.journal import Event


def fields(datagram: bytes) -> dict[str, bytes]:
    """The native protocol, read back."""
    found = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if equals:
            found[key.decode()], datagram = value, rest
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            found[key.decode()], datagram = rest[8 : 8 + size], rest[9 + size :]
    return found


def test_an_entry_has_fields() -> None:
    event = Event(
        "abc:7", 1.0, "encoded", "drivers/a\nb.ko",
        {"tree": "/дерево/\udcff", "because": "new link", "types": 3, "split_bytes": 90,
         "milliseconds": {"read": 1.0, "install": 0.5}, "reason": None, "warnings": []},
    )  # fmt: skip
    told = fields(syslog.entry(event))
    assert told["BTFD_EVENT"] == b"encoded"
    assert told["BTFD_MODULE"] == b"drivers/a\nb.ko"
    assert told["BTFD_TREE"] == "/дерево/".encode() + b"\xff"
    assert told["BTFD_DURATION_USEC"] == b"1500"
    assert told["BTFD_BECAUSE"] == b"new link"
    assert told["PRIORITY"] == b"6"
    assert b"3 types" in told["MESSAGE"]
    assert "BTFD_REASON" not in told


def test_failures_have_a_message_id_and_a_priority() -> None:
    event = Event("abc:8", 1.0, "failed", "a.ko", {"reason": "no DWARF", "hint": "build with -g"})
    told = fields(syslog.entry(event))
    assert told["PRIORITY"] == b"3"
    assert len(told["MESSAGE_ID"]) == 32
    assert told["BTFD_HINT"] == b"build with -g"


def test_only_where_stderr_is_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert syslog.sender() is None


SEND = """
import os, sys
from btfd import syslog
from btfd.journal import Event
s = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{s.st_dev}:{s.st_ino}"
syslog.sender(sys.argv[1])(Event("a:1", 0.0, "lost", "/tree", {"reason": "overflow"}))
"""


def test_it_is_sent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "journal"))
        server.settimeout(30)
        subprocess.run(
            [sys.executable, "-c", SEND, str(tmp_path / "journal")],
            check=True,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert fields(server.recv(65536))["BTFD_EVENT"] == b"lost"
