"""The varlink server over real sockets: what clients may do to it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from btfd.api import server, wire
from btfd.api.address import listen
from btfd.api.client import Client, NotRunning
from btfd.api.server import Call, Server
from btfd.api.wire import Fault
from btfd.errors import Problem
from tests.support.run import run

PATIENCE = 60.0


class Echo:
    """A server in a thread: `t.Echo` gives its parameters back, `t.Flood` streams for ever."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.sent = 0
        self.went: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        listener = listen(self.path)
        self.server = Server(self._dispatch)
        await self.server.start(listener.socket)
        self._ready.set()
        await self._ending.wait()
        await self.server.close()
        listener.close()

    async def _dispatch(self, call: Call) -> Mapping[str, Any]:
        match call.method:
            case "t.Echo":
                return call.parameters
            case "t.Flood":
                while True:
                    await call.send({"text": "x" * 60_000})
                    self.sent += 60_000
            case "t.Linger":
                while not call.gone:
                    await asyncio.sleep(0.01)
                self.went.append(call.method)
                return {}
        raise Fault("t.Unknown", method=call.method)

    def __enter__(self) -> Echo:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._ending is not None
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def raw(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(PATIENCE)
        peer.connect(self.path)
        return peer


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    with Echo(tmp_path) as running:
        yield running


def read_all(peer: socket.socket) -> bytes:
    pieces = []
    while piece := peer.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def receive(peer: socket.socket) -> Any:
    data = bytearray()
    while not data.endswith(b"\0"):
        piece = peer.recv(1)
        assert piece, data
        data += piece
    return json.loads(data[:-1])


def test_a_request_over_buffer_borders(echo: Echo) -> None:
    text = "й" * (1 << 19)
    with Client(echo.path) as client:
        for size in (1, 65_535, 65_536, len(text)):
            assert client.call("t.Echo", {"text": text[:size]}) == {"text": text[:size]}
        big = "b" * (2 << 20)
        assert client.call("t.Echo", {"text": big}) == {"text": big}


def test_names_that_are_no_utf8_pass(echo: Echo) -> None:
    name = os.fsdecode(b"/\xff\xfe/\xd1\x8f.ko")
    with Client(echo.path) as client:
        assert client.call("t.Echo", {"path": name}) == {"path": name}


def test_several_requests_in_one_packet_and_one_in_several(echo: Echo) -> None:
    with echo.raw() as peer:
        message = wire.pack({"method": "t.Echo", "parameters": {"n": 1}})
        peer.sendall(message * 3)
        assert [receive(peer) for _ in range(3)] == [{"parameters": {"n": 1}}] * 3
        for byte in message:
            peer.sendall(bytes([byte]))
        assert receive(peer) == {"parameters": {"n": 1}}


def test_a_reply_after_the_clients_end_of_sending(echo: Echo) -> None:
    with echo.raw() as peer:
        peer.sendall(wire.pack({"method": "t.Echo", "parameters": {"n": 2}}))
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b'{"parameters":{"n":2}}\0'


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"GET / HTTP/1.0\r\n\r\n\0",
        b"[]\0",
        b"{}\0",
        b'{"method": 7}\0',
        b'{"method": "t.Echo", "parameters": []}\0{"method": 1}\0',
        b"\xff\xfe\xfd\0",
        b"[" * 100_000 + b"\0",
        b"x" * (wire.LARGEST + 2),
    ],
)
def test_garbage_is_cut_off_and_hurts_nobody(echo: Echo, garbage: bytes) -> None:
    with Client(echo.path) as client, echo.raw() as peer:
        try:
            peer.sendall(garbage)
            answer = read_all(peer)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""  # cut off while we were still sending
        assert answer in (b"", b'{"parameters":{}}\0')
        assert client.call("t.Echo", {"n": 3}) == {"n": 3}


def test_half_a_request_ends_after_a_while(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    with echo.raw() as idle, echo.raw() as peer:
        peer.sendall(b'{"method": "t.Ec')
        assert read_all(peer) == b""
        idle.sendall(wire.pack({"method": "t.Echo"}))
        assert receive(idle) == {"parameters": {}}


def test_a_slow_reader_holds_up_only_itself(echo: Echo) -> None:
    with echo.raw() as slow, Client(echo.path) as client:
        slow.sendall(wire.pack({"method": "t.Flood", "more": True}))
        seen = -1
        while seen != echo.sent or not seen:
            seen = echo.sent
            for _ in range(50):
                assert client.call("t.Echo", {"n": 4}) == {"n": 4}
        assert seen < 2 << 20, "the rest waits in the service, not in memory"


def test_who_goes_away_is_noticed(echo: Echo) -> None:
    with echo.raw() as peer:
        peer.sendall(wire.pack({"method": "t.Linger"}))
    with Client(echo.path) as client:
        while not echo.went:
            client.call("t.Echo")


def test_a_thousand_at_once(echo: Echo) -> None:
    soft_needed = 2100
    server._allow_descriptors()
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < soft_needed:
        pytest.skip("not enough descriptors here")
    peers = [echo.raw() for _ in range(1000)]
    try:
        for n, peer in enumerate(peers):
            peer.sendall(wire.pack({"method": "t.Echo", "parameters": {"n": n}}))
        for n, peer in enumerate(peers):
            assert receive(peer) == {"parameters": {"n": n}}
        assert echo.server.connections == 1000
    finally:
        for peer in peers:
            peer.close()


def test_errors_and_unknown_methods(echo: Echo) -> None:
    with Client(echo.path) as client:
        with pytest.raises(Fault) as caught:
            client.call("t.Nothing")
        assert caught.value.name == "t.Unknown"
        assert caught.value.parameters == {"method": "t.Nothing"}


# The address


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(NotRunning):
        Client(path)
    listener = listen(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    listener.close()
    assert not os.path.exists(path)


def test_a_live_one_is_not(echo: Echo) -> None:
    with pytest.raises(Problem, match="running here already") as caught:
        listen(echo.path)
    assert "btfd stop" in (caught.value.hint or "")


def test_two_that_start_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    first = listen(path)
    with pytest.raises(Problem, match="running here already"):
        listen(path)
    first.close()
    listen(path).close()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(Problem, match="no socket"):
        listen(str(path))
    assert path.read_text() == "precious"


def test_the_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    listener = listen(str(tmp_path / "a/b/socket"))
    assert os.stat(tmp_path / "a/b").st_mode & 0o777 == 0o700
    listener.close()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
def test_a_directory_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(Problem, match="others can write"):
        listen(str(folder / "socket"))
    folder.chmod(0o755)
    listen(str(folder / "socket")).close()


def test_a_directory_by_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(Problem, match="symbolic link"):
        listen(str(tmp_path / "link" / "socket"))


STRANGER = """
import os, socket, sys
os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
try:
    peer.sendall(b'{"method": "t.Echo"}' + bytes(1))
    print(peer.recv(100))
except (ConnectionResetError, BrokenPipeError):
    print(b"")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_users_directory_and_processes_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(Problem, match="another user"):
        listen(str(folder / "socket"))
    with tempfile.TemporaryDirectory() as open_to_look:
        os.chmod(open_to_look, 0o711)
        with Echo(Path(open_to_look)) as running:
            os.chmod(running.path, 0o666)
            done = run(sys.executable, "-I", "-c", STRANGER, running.path)
    assert done.stdout == "b''\n", done.stderr


PASSED = """
import os, socket, sys
from btfd.api.address import listen
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
os.dup2(listener.fileno(), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
passed = listen("/nowhere/else")
assert (passed.socket.fileno(), passed.path) == (3, sys.argv[1]), passed
assert not os.get_inheritable(3)
passed.close()
assert os.path.exists(sys.argv[1]), "it is systemd's to remove"
print("taken over")
"""


def test_a_socket_of_systemd_is_taken_over(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", PASSED, tmp_path / "socket")
    assert done.stdout == "taken over\n", done.stderr


def test_the_version_is_the_packages() -> None:
    import tomllib

    from btfd import __version__

    with open(Path(__file__).parents[2] / "pyproject.toml", "rb") as f:
        assert tomllib.load(f)["project"]["version"] == __version__
