"""Events into systemd's journal, with fields that can be asked for.

    journalctl --user -u btfd BTFD_EVENT=failed
    journalctl --user -u btfd BTFD_MODULE=drivers/net/veth.ko -o verbose

Contract: `sender` gives something to call with each event where stderr is connected to the journal
(systemd says so in $JOURNAL_STREAM), else None. An entry that cannot be sent is dropped: nothing
waits for the journal. Cost: one datagram an event.

The protocol is systemd's native one: `KEY=value` lines, a value with a newline as its length
and its bytes. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from btfd.cli import phrases
from btfd.journal import Event

JOURNAL = "/run/systemd/journal/socket"
#: One for each kind of event that somebody may want to be woken by.
MESSAGE_IDS = {
    "failed": "b2f6c1d4a8e74f0c9d3f5a1e7c8b6042",
    "base-changed": "0f3a9e5d7b1c4826a4d8e2f6903c7b15",
    "lost": "7d41c8e0f25b4a9386c07ed1b5a9f348",
    "degraded": "c59e0b7a41d84f2fb36a8d20e97f1c63",
    "deaf": "e813f7c6925d4ab0a7f1d46c0b38e52a",
}
#: Characters of a field: a datagram that the socket does not take would be lost as a whole.
LONGEST = 1 << 15
_ERROR, _WARNING, _NOTICE, _INFO, _DEBUG = 3, 4, 5, 6, 7
_PRIORITIES = {
    "failed": _ERROR,
    "deaf": _ERROR,
    "base-missing": _ERROR,
    "not-followed": _ERROR,
    "not-reloaded": _ERROR,
    "degraded": _WARNING,
    "lost": _WARNING,
    "leftover": _WARNING,
    "gate": _WARNING,
    "base-changed": _NOTICE,
    "kept": _DEBUG,
    "unchanged": _DEBUG,
}


def sender(path: str = JOURNAL) -> Callable[[Event], None] | None:
    """What sends an event to the journal; None where stderr goes elsewhere."""
    if not _connected():
        return None
    try:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        link.connect(path)
    except OSError:
        return None

    def send(event: Event) -> None:
        with contextlib.suppress(OSError):
            link.send(entry(event))

    return send


def _connected() -> bool:
    """Whether stderr is the stream that systemd made for us."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        s = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(s.st_dev), str(s.st_ino))


def entry(event: Event) -> bytes:
    """The datagram of one event."""
    fields: dict[str, str | bytes] = {
        "MESSAGE": f"{event.kind}: {phrases.words(event)}",
        "PRIORITY": str(_PRIORITIES.get(event.kind, _INFO)),
        "SYSLOG_IDENTIFIER": "btfd",
        "BTFD_EVENT": event.kind,
        "BTFD_GENERATION": event.generation,
    }
    if event.kind in MESSAGE_IDS:
        fields["MESSAGE_ID"] = MESSAGE_IDS[event.kind]
    more: Mapping[str, Any] = event.fields
    if "tree" in more:
        fields["BTFD_TREE"] = os.fsencode(str(more["tree"]))
    if event.path is not None:
        fields["BTFD_MODULE" if event.path.endswith(".ko") else "BTFD_PATH"] = os.fsencode(
            event.path
        )
    took = more.get("milliseconds")
    if isinstance(took, Mapping) and took:
        fields["BTFD_DURATION_USEC"] = str(round(1000 * sum(took.values())))
    for key, value in more.items():
        if key not in ("tree", "milliseconds") and value not in (None, [], ""):
            text = value if isinstance(value, str) else json.dumps(value)
            if len(text) <= LONGEST:
                fields["BTFD_" + key.upper().replace("-", "_")] = text
    return b"".join(_line(key, value) for key, value in fields.items())


def _line(key: str, value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    if b"\n" in raw:
        return key.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return key.encode() + b"=" + raw + b"\n"
