"""The client's end: one connection, one call after the other, no threads.

Contract: `Client.call` gives the parameters of the reply, or raises `Fault` with what the service
said; `stream` gives one reply after the other. Where nobody answers, `NotRunning`. A service of
another user is not spoken to.

Cost: connecting and one call take 0.3 ms.
"""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from btfd.api import wire
from btfd.api.wire import Fault
from btfd.errors import Problem, from_os

#: Seconds to connect in: a service that is stopped in a debugger must not hang its callers.
CONNECT = 5.0
_CHUNK = 1 << 16
#: Seconds after which who waits for ever looks for signals: Python sees none that comes just before
#: it begins to wait.
_SIGNALS = 1.0


class NotRunning(Problem):
    """Nobody answers on the socket."""


class Client:
    """A connection to the service. Use it in a `with` statement."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path or wire.socket_path()
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect()
        except BaseException:
            self._socket.close()
            raise

    def _connect(self) -> None:
        # Sending is what connect waits for where the service's queue is full.
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(CONNECT), 0)
        )
        try:
            self._socket.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as e:
            raise NotRunning(
                "no service is running", path=self.path, hint="start it with `btfd run`"
            ) from e
        except BlockingIOError as e:
            raise Problem("the service does not answer", path=self.path) from e
        except OSError as e:
            raise from_os(e, self.path) from e
        about = self._socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        if struct.unpack("3i", about)[1] != os.geteuid():
            raise Problem("the service belongs to another user", path=self.path)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """One call. `timeout` in seconds; parameters that are None are left out."""
        self._send(method, parameters or {}, more=False)
        return self._receive(timeout)[0]

    def stream(
        self, method: str, parameters: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """One call with many replies."""
        self._send(method, parameters or {}, more=True)
        continues = True
        while continues:
            reply, continues = self._receive(None)
            yield reply

    def _send(self, method: str, parameters: Mapping[str, Any], *, more: bool) -> None:
        name = method if "." in method else f"{wire.INTERFACE}.{method}"
        given = {key: value for key, value in parameters.items() if value is not None}
        message: dict[str, Any] = {"method": name, "parameters": given}
        if more:
            message["more"] = True
        with self._translated():
            self._socket.sendall(wire.pack(message))

    def _receive(self, timeout: float | None) -> tuple[dict[str, Any], bool]:
        self._socket.settimeout(_SIGNALS if timeout is None else timeout)
        searched = 0
        while (end := self._buffer.find(wire.END, searched)) < 0:
            searched = len(self._buffer)
            with self._translated():
                try:
                    piece = self._socket.recv(_CHUNK)
                except TimeoutError:
                    if timeout is None:
                        continue
                    raise
            if not piece:
                raise Problem("the service hung up", path=self.path, hint="did it end just now?")
            self._buffer += piece
        try:
            message = json.loads(self._buffer[:end])
        except ValueError as e:
            raise Problem("the answer is not JSON", path=self.path) from e
        del self._buffer[: end + 1]
        if "error" in message:
            raise Fault(message["error"], **(message.get("parameters") or {}))
        return message.get("parameters") or {}, bool(message.get("continues"))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, BlockingIOError) as e:
            raise Problem("the service does not answer in time", path=self.path) from e
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Problem("the service hung up", path=self.path) from e
        except OSError as e:
            raise from_os(e, self.path) from e
