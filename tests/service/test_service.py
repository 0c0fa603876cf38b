"""`btfd run` and the verbs against it, as processes with real sockets, over a core in memory."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from btfd.api.client import Client, NotRunning
from btfd.api.wire import Fault
from btfd.engine import stamp_of
from tests.policy.fake import link, link_base, make_tree
from tests.support.run import run

PATIENCE = 120.0
M0, M1, M2 = (f"drivers/d{n}/m{n}.ko" for n in range(3))
PROGRAM = (
    "import sys; from btfd.__main__ import main; from tests.policy.fake import FakeCore;"
    "sys.exit(main(sys.argv[1:], FakeCore()))"
)
ROOT = Path(__file__).parents[2]


#: A load of a base that holds up the loop for as long as there is a file of this name.
HANGING = """
import os, sys, time
from btfd import daemon
from btfd.__main__ import main
from tests.policy.fake import FakeCore

class Hanging(FakeCore):
    def read_btf(self, path):
        while os.path.exists(path + ".hang"):
            time.sleep(0.01)
        return super().read_btf(path)

daemon.STUCK = 0.5
sys.exit(main(sys.argv[1:], Hanging()))
"""


#: A reader that dies, and a loop that does, at a file of these names.
DYING = """
import os, sys
from btfd.__main__ import main
from btfd.tree import BuildTree
from btfd.watch import Watcher
from tests.policy.fake import FakeCore

handle, look = Watcher._handle, BuildTree.look_at_base

def harmed(self, event):
    if event.name == b"poison":
        raise KeyError("a reader's bug")
    handle(self, event)

def harmed_too(self):
    if os.path.exists(os.path.join(self.root, "venom")):
        os.unlink(os.path.join(self.root, "venom"))
        raise KeyError("a loop's bug")
    return look(self)

Watcher._handle, BuildTree.look_at_base = harmed, harmed_too
sys.exit(main(sys.argv[1:], FakeCore()))
"""


class Service:
    """A service of its own, with everything that it keeps below one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config/btfd/config.yaml"
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        self.environment.pop("BTFD_SOCKET", None)
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.socket = str(folder / "run/btfd/io.btfd-0.1.0")
        self.process: subprocess.Popen[str] | None = None

    def start(self, program: str = PROGRAM, **environment: str) -> None:
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "run", "--json"],
                cwd=ROOT,
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.until(self._answers)

    def _answers(self) -> bool:
        try:
            self.client().close()
        except NotRunning:
            return False
        return True

    def until(self, what: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, self.log()
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            time.sleep(0.01)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def verb(self, *words: str | Path, status: int = 0) -> str:
        """Runs a verb; its standard output."""
        command = [sys.executable, "-m", "btfd", *map(str, words)]
        done = run(*command, cwd=ROOT, env=self.environment)
        assert done.returncode == status, (done, self.log())
        return done.stdout

    def told(self, *words: str | Path, status: int = 0) -> Any:
        """Runs a verb with --json; the last object."""
        return json.loads(self.verb(*words, "--json", status=status).splitlines()[-1])

    def client(self) -> Client:
        return Client(self.socket)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path)
    running.config.write_text("use: watcher\n")
    running.start()
    try:
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


def encoded(root: Path, module: str) -> bool:
    return "\nbtf " in (root / module).read_text()


def states(service: Service) -> dict[str, int]:
    (tree,) = service.told("status")["trees"]
    counts: dict[str, int] = tree["modules"]
    return counts


def test_a_tree_is_added_encoded_and_remembered(service: Service, root: Path) -> None:
    assert "added" in service.verb("add", root)
    assert "already" in service.verb("add", root)
    service.verb("wait")
    assert all(encoded(root, m) for m in (M0, M1, M2))
    assert states(service) == {"encoded": 3}
    assert service.end() == 0
    assert not os.path.exists(service.socket)
    link(root, M1, "while nobody looked")
    service.start()
    service.verb("wait")
    assert encoded(root, M1)
    assert states(service) == {"encoded": 3}
    kinds = [json.loads(line)["event"] for line in service.log().splitlines()]
    assert kinds.count("encoded") == 4, "after the restart only what is stale"
    service.verb("remove", root / "drivers")
    assert service.told("status")["trees"] == []
    assert service.end() == 0
    service.start()
    assert service.told("status")["trees"] == []


def test_a_kill_loses_nothing(service: Service, root: Path) -> None:
    service.verb("add", root)
    for n in range(5):
        link_base(root, f"base {n}")
        link(root, M0, f"edit {n}")
        service.end(signal.SIGKILL)
        service.start()
        service.verb("wait")
        assert states(service) == {"encoded": 3}
        assert encoded(root, M0)


def test_wait_and_its_exit_status(service: Service, root: Path) -> None:
    service.verb("add", root)
    service.verb("wait", "m0", root / M1, "--timeout", "100")
    (root / M1).write_text("nothing\n")
    assert service.told("wait", status=1)["failed"][0]["module"] == M1
    service.verb("wait", "m0")
    assert service.told("wait", root / M1, status=1)["result"] == "failed"
    service.verb("wait", "m77", status=1)
    service.verb("wait", "--timeout", "soon", status=2)
    # A path that is looked at for ever: a base that somebody is writing.
    with open(root / "vmlinux", "a") as f:
        f.write("\n")
        f.flush()
        link(root, M0, "edited")
        service.until(lambda: service.told("wait", "--timeout", "0", status=2)["result"])
        with service.client() as client:

            def connections(count: int) -> None:
                service.until(lambda: client.call("Status")["connections"] == count)

            connections(1)  # those before have hung up
            waiting = subprocess.Popen(
                [sys.executable, "-m", "btfd", "wait"], cwd=ROOT, env=service.environment
            )
            connections(2)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(PATIENCE) == 3
    service.verb("wait", "m0")


def test_why_and_modules(service: Service, root: Path) -> None:
    service.verb("add", root)
    service.verb("wait")
    why = service.told("why", "m1")
    assert why["module"]["state"] == "encoded"
    assert why["events"][0]["because"] == "no BTF"
    assert why["stamp"] == list(stamp_of(str(root / M1)) or ())
    (root / M2).write_text("nothing\n")
    service.verb("wait", status=1)
    failed = service.told("modules", "--state", "failed")
    assert (failed["module"], failed["reason"]) == (M2, "no DWARF")
    assert len(service.verb("modules", root).splitlines()) == 3
    service.verb("why", "m9", status=1)
    service.verb("modules", "/", status=1)


def test_events_stream_and_go_on(service: Service, root: Path) -> None:
    with service.client() as client:
        replies = client.stream("Events")
        first = next(replies)
        assert (first["events"], first["fresh"]) == ([], False)
        service.verb("add", root)
        kinds: list[str] = []
        last = ""
        while kinds.count("encoded") < 3:
            reply = next(replies)
            kinds += [event["event"] for event in reply["events"]]
            last = reply["generation"]
        assert kinds[0] == "tree-added"
    link(root, M0, "edited")
    out = service.verb("events", "--since", last, "-n", "1", "--json")
    assert [json.loads(line)["path"] for line in out.splitlines()] == [M0]
    service.end()
    service.start()
    service.verb("wait")
    gap, *_ = service.verb("events", "--since", last, "--now", "--json").splitlines()
    assert json.loads(gap)["fresh"], "another run's generation is not taken for one of this"


def test_configuration_is_reloaded_without_dropping_the_base(service: Service, root: Path) -> None:
    other = make_tree(service.folder / "other")
    service.verb("add", root)
    service.verb("wait")
    service.config.write_text(f"use: watcher\njobs: 3\ntrees: [{other}]\n")
    assert service.told("reload")["changed"] == ["trees", "jobs"]
    service.verb("wait")
    assert {tree["root"] for tree in service.told("status")["trees"]} == {str(root), str(other)}
    service.config.write_text("jobs: lots\n")
    done = run(sys.executable, "-m", "btfd", "reload", cwd=ROOT, env=service.environment)
    assert done.returncode == 1
    assert "config.yaml:1: `jobs`: expected a number" in done.stderr
    service.config.write_text("use: watcher\nbtf_features: [var]\n")
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda: '"options changed"' in service.log())
    service.verb("wait")
    service.until(lambda: len(service.told("status")["trees"]) == 1)
    assert service.told("config")["key"] == "cache"


def test_encode_serves_exactly_the_files_that_the_client_sees(service: Service, root: Path) -> None:
    path, base = str(root / M0), str(root / "vmlinux")
    before = (root / M0).read_bytes()
    order: dict[str, Any] = {
        "module": path,
        "stamp": stamp_of(path),
        "base": base,
        "base_stamp": stamp_of(base),
        "features": ["var"],
        "lang_exclude": [],
    }
    with service.client() as client:
        reply = client.call("Encode", order)
        assert len(base64.b64decode(reply["btf"])) == 32
        assert reply["stamp"] == list(stamp_of(path) or ())
        assert (root / M0).read_bytes() == before, "nothing is written"

        def refused(**change: Any) -> str:
            with pytest.raises(Fault) as caught:
                client.call("Encode", order | change)
            return caught.value.name

        assert refused(stamp=[1, 2, 3, 4, 5]) == "io.btfd.Unsuitable"
        assert refused(base_stamp=[1, 2, 3, 4, 5]) == "io.btfd.Unsuitable"
        assert refused(base="/nowhere") == "io.btfd.Unsuitable"
        assert refused(stamp=[1, 2, 3]) == "org.varlink.service.InvalidParameter"
        assert refused(module="relative.ko") == "org.varlink.service.InvalidParameter"
        assert refused(features="var") == "org.varlink.service.InvalidParameter"
        (root / M0).write_text("nothing\n")
        assert refused(stamp=stamp_of(path)) == "io.btfd.Refused"


def test_a_crowd_of_clients_is_served_or_sent_home(service: Service, root: Path) -> None:
    base = str(root / "vmlinux")
    clients = [service.client() for _ in range(300)]
    for n, client in enumerate(clients):
        path = str(root / (M0, M1, M2)[n % 3])
        client._send(
            "Encode",
            {
                "module": path,
                "stamp": stamp_of(path),
                "base": base,
                "base_stamp": stamp_of(base),
                "features": [],
                "lang_exclude": [],
            },
            more=False,
        )
    served = 0
    for client in clients:
        try:
            served += bool(client._receive(PATIENCE))
        except Fault as e:
            assert e.name == "io.btfd.Unsuitable"
        client.close()
    assert served
    status = service.told("status")
    assert status["encoded"] == served
    assert status["encoded"] + status["unsuitable"] == 300


def test_the_interface_describes_itself(service: Service) -> None:
    with service.client() as client:
        info = client.call("org.varlink.service.GetInfo")
        assert info["interfaces"] == ["org.varlink.service", "io.btfd"]
        text = client.call("org.varlink.service.GetInterfaceDescription", {"interface": "io.btfd"})
        assert "method Encode(" in text["description"]
        for method, error in (
            ("io.btfd.Nothing", "org.varlink.service.MethodNotFound"),
            ("io.other.Nothing", "org.varlink.service.InterfaceNotFound"),
        ):
            with pytest.raises(Fault) as caught:
                client.call(method)
            assert caught.value.name == error


def test_what_cannot_be_followed_is_said(service: Service, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    service.verb("add", tmp_path / "empty", status=1)
    service.verb("add", tmp_path / "missing", status=1)
    blocked = make_tree(tmp_path / "blocked")
    with open(blocked / "include/config/auto.conf", "a") as f:
        f.write("CONFIG_DEBUG_INFO_SPLIT=y\n")
    service.verb("add", blocked)
    (tree,) = service.told("status", blocked)["trees"]
    assert (tree["state"], "dwo" in tree["reason"]) == ("blocked", True)
    assert service.told("wait", status=1)["failed"][0]["state"] == "stale"
    (blocked / "include/config/auto.conf").write_text("CONFIG_DEBUG_INFO_BTF=y\n")
    service.until(lambda: states(service) == {"encoded": 3})
    (blocked / "vmlinux").unlink()
    service.until(lambda: service.told("status")["trees"][0]["state"] == "waiting")
    service.verb("status")


def test_external_modules_follow_the_vmlinux_of_their_kernel(
    service: Service, root: Path, tmp_path: Path
) -> None:
    hello = tmp_path / "hello"
    link(hello, "hello.ko", "external")
    (hello / "modules.order").write_text(f"{hello}/hello.ko\n")
    service.verb("add", hello, status=1)
    service.verb("add", root)
    service.verb("add", hello, "--base", root)
    service.verb("wait")
    first = (hello / "hello.ko").read_text()
    assert "\nbtf " in first
    assert service.told("status")["bases"] == 1, "one base for both"
    link_base(root, "another")
    service.until(lambda: (hello / "hello.ko").read_text() != first)
    service.end()
    service.start()
    service.verb("wait")
    assert [tree["base_path"] for tree in service.told("status")["trees"]] == [
        str(root / "vmlinux")
    ] * 2


def test_nobody_there(service: Service) -> None:
    service.verb("stop")
    assert service.process is not None
    assert service.process.wait(PATIENCE) == 0
    done = run(sys.executable, "-m", "btfd", "status", cwd=ROOT, env=service.environment)
    assert done.returncode == 1
    assert "hint: start it with `btfd run`" in done.stderr


def test_a_second_service_is_refused(service: Service) -> None:
    service.verb("run", status=1)


def test_a_tree_whose_loop_hangs_keeps_the_service_from_pinging(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.config.write_text("use: watcher\n")
    tree = make_tree(tmp_path / "tree")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        # Read all the time, as systemd does: a service that nobody reads from waits, after 11.
        heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def listen() -> None:
            while word := systemd.recv(4096):
                heard.put(word)

        reader = threading.Thread(target=listen)
        reader.start()
        service.start(HANGING, **environment)
        try:
            service.told("add", tree)
            service.told("wait")
            hang = tree / "vmlinux.hang"
            hang.touch()
            link_base(tree, "another")
            with pytest.raises(queue.Empty):
                for _ in range(3000):
                    heard.get(timeout=5.0)
            assert service.told("status")["trees"], "everything else goes on"
            hang.unlink()
            while heard.get(timeout=PATIENCE) != b"WATCHDOG=1":
                pass
            service.told("wait")
            assert service.end() == 0
        finally:
            if service.process is not None and service.process.poll() is None:
                service.process.kill()
            systemd.shutdown(socket.SHUT_RD)
            reader.join()


def test_a_reader_that_dies_and_a_loop_that_does_are_started_again(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.config.write_text("use: watcher\n")
    tree, other = make_tree(tmp_path / "tree"), make_tree(tmp_path / "other")
    service.start(DYING)
    try:
        for root in (tree, other):
            service.told("add", root)
        service.told("wait")
        (tree / "poison").touch()
        service.until(lambda: "the reader of events died" in service.log())
        (other / "venom").touch()
        link_base(other, "two")
        service.until(lambda: "a loop's bug" in service.log())
        for root in (tree, other):
            link(root, M0, "edited meanwhile")
        service.until(lambda: _states(service) == {"ready"})
        service.told("wait")
        modules = [json.loads(m) for m in service.verb("modules", "--json").splitlines()]
        assert [m["state"] for m in modules] == ["encoded"] * 6
        assert service.end() == 0
    finally:
        if service.process is not None and service.process.poll() is None:
            service.process.kill()


def _states(service: Service) -> set[str]:
    return {tree["state"] for tree in service.told("status")["trees"]}
