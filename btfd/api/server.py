"""A varlink server: frames, peers, streams. It knows no method of ours.

Contract: `Server` hands every request to `dispatch` and sends what comes back, one after the other
on each connection. Only processes of our own user are answered. A client that sends garbage, more
than `wire.LARGEST` bytes, or half a request for longer than `PATIENCE` seconds is cut off; one that
does not read holds up only itself, with at most one reply and `HIGH_WATER` bytes waiting. A client
that goes away while a method waits makes `gone` true.

Cost: about 150 us of CPU a call. A connection takes about 10 kB; there may be `MOST` of them.
"""

import asyncio
import contextlib
import json
import os
import resource
import select
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from btfd.api import wire
from btfd.api.wire import Fault

#: Seconds for the rest of a request whose first byte is here.
PATIENCE = 10.0
HIGH_WATER = 256 << 10
#: Connections at a time.
MOST = 4096

Reply = Mapping[str, Any] | bytes


@dataclass(slots=True)
class Call:
    """One request. `more`: the client takes several replies, which go through `send`."""

    method: str
    parameters: Mapping[str, Any]
    more: bool
    writer: asyncio.StreamWriter = field(repr=False)

    async def send(self, parameters: Mapping[str, Any]) -> None:
        """One of several replies; waits until there is room for it."""
        self.writer.write(wire.pack({"parameters": parameters, "continues": True}))
        await self.writer.drain()

    @property
    def gone(self) -> bool:
        """Whether the client cannot hear the answer any more."""
        return self.writer.transport.is_closing() or _hung_up(self.writer)


#: Answers a request: parameters, or a whole framed message. Raises `Fault`.
Dispatch = Callable[[Call], Awaitable[Reply]]


class Server:
    """Answers on one listening socket until `close`."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def start(self, listener: socket.socket) -> None:
        _allow_descriptors()
        self._server = await asyncio.start_unix_server(
            self._connected, sock=listener, limit=wire.LARGEST, backlog=MOST
        )

    async def close(self) -> None:
        """Answers nothing new, and cuts off whoever is there."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST or not _ours(writer):
            writer.transport.abort()
            return
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            async for frame in _frames(reader):
                if not await self._answer(frame, writer):
                    break
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            writer.close()
            await writer.wait_closed()

    async def _answer(self, frame: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; False where the client does not speak varlink."""
        try:
            request = json.loads(frame)
            method = request["method"]
            parameters = request.get("parameters") or {}
            oneway, more = bool(request.get("oneway")), bool(request.get("more"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        if not isinstance(method, str) or not isinstance(parameters, dict):
            return False
        try:
            answer = await self._dispatch(Call(method, parameters, more, writer))
            message = answer if isinstance(answer, bytes) else wire.pack({"parameters": answer})
        except Fault as e:
            message = wire.pack({"error": e.name, "parameters": e.parameters})
        if not oneway:
            writer.write(message)
            await writer.drain()
        return True


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Complete requests. Ends at the end of the stream, and where the client breaks the rules."""
    while True:
        first = await reader.read(1)
        if not first:
            return
        if first == wire.END:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                rest = await reader.readuntil(wire.END)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            return
        yield first + rest[:-1]


def _ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the process at the other end is of our user."""
    peer = writer.get_extra_info("socket")
    about = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", about)
    return bool(user == os.geteuid())


def _hung_up(writer: asyncio.StreamWriter) -> bool:
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), 0)
    return bool(poll.poll(0))


def _allow_descriptors() -> None:
    """Room for `MOST` connections, as far as the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + 1024 if hard == resource.RLIM_INFINITY else min(MOST + 1024, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
