"""The methods of io.btfd: from JSON to calls of the service, and back.

Contract: parameters are checked here, by the interface file's types; nothing is decided here.
Encoding runs in threads of its own, so that neither the loop nor other clients wait for it.

Cost: 150 us a call beside the work; an answer's base64 and JSON are made in the worker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from btfd import __version__
from btfd.api import wire
from btfd.api.server import Call, Reply
from btfd.api.wire import INTERFACE, SERVICE, Fault
from btfd.daemon import Daemon
from btfd.engine import Stamp
from btfd.errors import Problem, Refused, UnknownModule, UnknownTree
from btfd.follow import Follower, modules_of
from btfd.kbuild import CHOICES
from btfd.ondemand import Order, Unsuitable
from btfd.report import ModuleReport, of_module

if TYPE_CHECKING:
    from btfd.service import Service

#: How often a client that waits is looked after, in seconds.
LOOK = 5.0
#: Events in one reply of a stream, and of one module.
BATCH = 200
EVENTS_OF_ONE = 100

KEPT = 1 << 30

_T = TypeVar("_T")
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
            f"{INTERFACE}.Modules": self._modules,
            f"{INTERFACE}.Why": self._why,
            f"{INTERFACE}.Wait": self._wait,
            f"{INTERFACE}.Events": self._events,
            f"{INTERFACE}.AddTree": self._add_tree,
            f"{INTERFACE}.RemoveTree": self._remove_tree,
            f"{INTERFACE}.Reload": self._reload,
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
        try:
            return await method(call)
        except Fault:
            raise
        except UnknownTree as e:
            raise Fault(f"{INTERFACE}.NoSuchTree", reason=e.cause, tree=e.path, hint=e.hint) from e
        except UnknownModule as e:
            raise Fault(f"{INTERFACE}.NoSuchModule", module=e.path, hint=e.hint) from e
        except Problem as e:
            raise Fault(f"{INTERFACE}.Failed", reason=e.cause, path=e.path, hint=e.hint) from e
        except ConnectionError:
            raise
        except Exception as e:
            raise Fault(
                f"{INTERFACE}.Failed",
                reason=f"internal error: {e!r}",
                path=None,
                hint="please report it",
            ) from e

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
        return await self._service.status(_maybe(call, "tree", str))

    async def _modules(self, call: Call) -> Reply:
        states = _maybe(call, "states", list)
        found: list[dict[str, Any]] = []
        for follower in self._service.chosen(_maybe(call, "tree", str)):
            modules = await _ask(follower, modules_of, states)
            found += [module.as_json() for module in modules]
        return {"modules": found}

    async def _why(self, call: Call) -> Reply:
        follower, module = await self._find(_get(call, "module", str), _maybe(call, "tree", str))

        report, stamp = await _ask(follower, _why, module)
        latest = self._service.journal.latest(module, follower.root, EVENTS_OF_ONE)
        events = [event.as_json() for event in latest]
        return {"module": report.as_json(), "stamp": stamp, "events": events}

    async def _wait(self, call: Call) -> Reply:
        tree, names = _maybe(call, "tree", str), _maybe(call, "modules", list)
        timeout = call.parameters.get("timeout")
        if timeout is not None and type(timeout) not in (int, float):
            raise _invalid("timeout")
        wanted: dict[Follower, list[str] | None] = dict.fromkeys(self._service.chosen(tree))
        if names is not None:
            wanted = {}
            for name in _words(call, "modules"):
                follower = await self._owner(name, tree)
                wanted[follower] = [*(wanted.get(follower) or ()), name]
        for follower in wanted:
            await follower.arrive()
        waiting = {follower: follower.wait(modules) for follower, modules in wanted.items()}
        try:
            await self._until(call, list(waiting.values()), timeout)
        except TimeoutError:
            pending = [m for f in waiting for m in await _ask(f, _pending)]
            raise Fault(f"{INTERFACE}.TimedOut", pending=pending) from None
        finally:
            for future in waiting.values():
                future.cancel()
        failed: list[dict[str, Any]] = []
        for follower, future in waiting.items():
            failed += await _ask(follower, _reports, future.result())
        return {"failed": failed}

    async def _until(self, call: Call, futures: list["Future[list[str]]"], timeout: Any) -> None:
        """Until all are done, the time is over (TimeoutError), or the client is gone."""
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        waiting = {asyncio.wrap_future(future) for future in futures}
        while waiting:
            left = LOOK if end is None else min(LOOK, max(0.0, end - loop.time()))
            done, waiting = await asyncio.wait(waiting, timeout=left)
            for future in done:
                future.result()
            if waiting and end is not None and loop.time() >= end:
                raise TimeoutError
            if waiting and call.gone:
                raise ConnectionResetError

    async def _owner(self, name: str, tree: str | None) -> Follower:
        """The tree that has a module, which may not be linked yet. Raises UnknownModule."""
        service = self._service
        if name.startswith("/"):
            return service.holding(name)
        followers = service.chosen(tree)
        return followers[0] if len(followers) == 1 else (await self._find(name, tree))[0]

    async def _find(self, name: str, tree: str | None) -> tuple[Follower, str]:
        """The tree and the module that a path or name means. Raises UnknownModule."""
        service = self._service
        for follower in [service.holding(name)] if name.startswith("/") else service.chosen(tree):
            module = await _ask(follower, _named, name)
            if module is not None:
                return follower, module
        raise UnknownModule("no such module", path=name, hint="`btfd modules` lists them")

    async def _events(self, call: Call) -> Reply:
        since, tree = _maybe(call, "since", str), _maybe(call, "tree", str)
        root = None if tree is None else self._service.holding(tree).root
        journal = self._service.journal
        at = since if since is not None else journal.generation
        first = True
        while True:
            history = journal.since(at)
            at = history.generation
            events = [e for e in history.events if root is None or e.fields.get("tree") == root]
            for n in range(0, max(first, len(events)), BATCH if call.more else KEPT):
                part = events[n : n + BATCH] if call.more else events
                reply = {
                    "events": [e.as_json() for e in part],
                    "generation": part[-1].generation if n + BATCH < len(events) else at,
                    "fresh": history.fresh and n == 0,
                }
                if not call.more:
                    return reply
                await call.send(reply)
            first = False
            await self._service.news(LOOK)
            if call.gone:
                raise ConnectionResetError

    async def _add_tree(self, call: Call) -> Reply:
        use = _maybe(call, "use", str) or ""
        if use and use not in CHOICES:
            raise _invalid("use")
        base = "" if call.parameters.get("base") is None else _path(call, "base")
        root, added = self._service.add(_path(call, "root"), use, base)
        return {"root": root, "added": added}

    async def _remove_tree(self, call: Call) -> Reply:
        return {"root": await self._service.remove(_path(call, "root"))}

    async def _reload(self, call: Call) -> Reply:
        try:
            return {"changed": self._service.reload()}
        except Problem as e:
            where = f"{e.path}: " if e.path else ""
            raise Fault(f"{INTERFACE}.BadConfiguration", reason=where + e.cause, hint=e.hint) from e

    async def _stop(self, call: Call) -> Reply:
        self._service.stop()
        return {}


# What is asked of a tree's loop


async def _ask(follower: Follower, what: Callable[..., _T], *details: Any) -> _T:
    await follower.arrive()
    answer: _T = await asyncio.wrap_future(follower.ask(lambda daemon: what(daemon, *details)))
    return answer


def _pending(daemon: Daemon) -> list[str]:
    return sorted(daemon.work.scheduler.pending())


def _named(daemon: Daemon, name: str) -> str | None:
    return daemon.tree.find(name)


def _why(daemon: Daemon, module: str) -> tuple[ModuleReport, Stamp | None]:
    record = daemon.tree.known(module)
    report = of_module(daemon.tree, module, daemon.work.passing)
    return report, None if record is None else record.stamp


def _reports(daemon: Daemon, modules: list[str]) -> list[dict[str, Any]]:
    return [of_module(daemon.tree, m, daemon.work.passing).as_json() for m in modules]


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
