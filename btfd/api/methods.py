"""The methods of io.btfd: from JSON to calls of the service, and back.

Contract: parameters are checked here, by the interface file's types; nothing is decided here.
Encoding runs in threads of its own, so that neither the loop nor other clients wait for it.

Cost: 150 us a call beside the work; an answer's base64 and JSON are made in the worker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from btfd import __version__
from btfd.api import wire
from btfd.api.server import Call, Reply
from btfd.api.wire import INTERFACE, SERVICE, Fault
from btfd.errors import Refused
from btfd.ondemand import Order, Unsuitable

if TYPE_CHECKING:
    from btfd.service import Service

_Method = Callable[[Call], Awaitable[Reply]]


def description() -> str:
    """The interface file."""
    return (files("btfd.api") / f"{INTERFACE}.varlink").read_text(encoding="utf-8")


class Methods:
    """Answers calls. `close` waits for running encodes."""

    def __init__(self, service: "Service", jobs: int) -> None:
        self._service = service
        self._pool = ThreadPoolExecutor(max(1, jobs), "btfd-order")
        self._methods: dict[str, _Method] = {
            f"{SERVICE}.GetInfo": self._get_info,
            f"{SERVICE}.GetInterfaceDescription": self._describe,
            f"{INTERFACE}.Encode": self._encode,
            f"{INTERFACE}.Status": self._status,
            f"{INTERFACE}.Stop": self._stop,
        }

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def dispatch(self, call: Call) -> Reply:
        """Answers one call; raises `Fault`."""
        method = self._methods.get(call.method)
        if method is None:
            interface = call.method.rpartition(".")[0]
            if interface in (INTERFACE, SERVICE):
                raise Fault(f"{SERVICE}.MethodNotFound", method=call.method)
            raise Fault(f"{SERVICE}.InterfaceNotFound", interface=interface)
        return await method(call)

    async def _get_info(self, call: Call) -> Reply:
        return {
            "vendor": "btfd",
            "product": "btfd",
            "version": __version__,
            "url": "",
            "interfaces": [SERVICE, INTERFACE],
        }

    async def _describe(self, call: Call) -> Reply:
        name = _get(call, "interface", str)
        if name != INTERFACE:
            raise Fault(f"{SERVICE}.InterfaceNotFound", interface=name)
        return {"description": description()}

    async def _encode(self, call: Call) -> Reply:
        order = Order(
            _path(call, "module"),
            _stamp(call, "stamp"),
            _path(call, "base"),
            _stamp(call, "base_stamp"),
            _words(call, "features"),
            _words(call, "lang_exclude"),
        )
        try:
            self._service.orders.admit()
        except Unsuitable as e:
            raise Fault(f"{INTERFACE}.Unsuitable", reason=e.cause) from e
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, order)

    def _work(self, order: Order) -> bytes:
        try:
            answer = self._service.orders.encode(order)
        except Unsuitable as e:
            raise Fault(f"{INTERFACE}.Unsuitable", reason=e.cause) from e
        except Refused as e:
            raise Fault(f"{INTERFACE}.Refused", reason=e.cause, hint=e.hint) from e
        return wire.pack(
            {
                "parameters": {
                    "btf": answer.btf,
                    "btf_base": answer.btf_base,
                    "warnings": list(answer.warnings),
                    "stamp": answer.stamp,
                    "milliseconds": answer.milliseconds,
                }
            }
        )

    async def _status(self, call: Call) -> Reply:
        return self._service.status()

    async def _stop(self, call: Call) -> Reply:
        self._service.stop()
        return {}


def _invalid(name: str) -> Fault:
    return Fault(f"{SERVICE}.InvalidParameter", parameter=name)


def _get(call: Call, name: str, kind: type) -> Any:
    value = call.parameters.get(name)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise _invalid(name)
    return value


def _maybe(call: Call, name: str, kind: type) -> Any:
    """An optional parameter; None where it is missing or null."""
    return None if call.parameters.get(name) is None else _get(call, name, kind)


def _path(call: Call, name: str) -> str:
    path: str = _get(call, name, str)
    if not path.startswith("/") or "\0" in path:
        raise _invalid(name)
    return path


def _words(call: Call, name: str) -> list[str]:
    words: list[str] = _get(call, name, list)
    if not all(isinstance(word, str) for word in words):
        raise _invalid(name)
    return words


def _stamp(call: Call, name: str) -> tuple[int, int, int, int, int]:
    values = _get(call, name, list)
    if len(values) != 5 or not all(type(value) is int for value in values):
        raise _invalid(name)
    return (values[0], values[1], values[2], values[3], values[4])
