"""A daemon that answers as a test wants it to."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: From the parameters of an Encode call to the reply; bytes go as they are, None says nothing.
Answer = Callable[[dict[str, Any]], "dict[str, Any] | bytes | None"]


def encoded(btf: bytes, base: bytes | None = None, **other: Any) -> Answer:
    """The right form of a reply with these bytes."""

    def answer(parameters: dict[str, Any]) -> dict[str, Any]:
        reply = {
            "btf": base64.b64encode(btf).decode(),
            "btf_base": None if base is None else base64.b64encode(base).decode(),
            "warnings": [],
            "stamp": parameters["stamp"],
            "milliseconds": 0.5,
        }
        return {"parameters": {**reply, **other}}

    return answer


def error(name: str, **parameters: Any) -> Answer:
    return lambda _: {"error": f"io.btfd.{name}", "parameters": parameters}


class FakeDaemon:
    """Listens until the end of a `with` block, and keeps the calls that came."""

    def __init__(
        self, folder: Path, answer: Answer, backlog: int = 8, name: str = "io.btfd-test"
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / name
        self.calls: list[dict[str, Any]] = []
        self._answer = answer
        self._held: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(self.path))
        self._listener.listen(backlog)

    def __enter__(self) -> FakeDaemon:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for one in (*self._held, self._listener):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._held.append(peer)
            message = b""
            while not message.endswith(b"\0"):
                piece = peer.recv(65536)
                if not piece:
                    break
                message += piece
            if not message:
                continue
            call = json.loads(message[:-1])
            assert call["method"] == "io.btfd.Encode"
            self.calls.append(call["parameters"])
            reply = self._answer(call["parameters"])
            if reply is None:
                continue
            if isinstance(reply, dict):
                reply = json.dumps(reply).encode() + b"\0"
            peer.sendall(reply)
            peer.close()
