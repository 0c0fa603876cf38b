"""With a daemon: its bytes go into the file; whatever it does, the build goes on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dropin.conftest import Tree
from tests.dropin.daemon import Answer, FakeDaemon, encoded, error

MODULE = "kernel/drivers/net/loopy.ko"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


def test_its_bytes_are_written(tree: Tree, runtime: Path) -> None:
    theirs = tree.header_only()
    with FakeDaemon(runtime, encoded(theirs)) as daemon:
        done = tree.kbuild("-j4 --btf_features=var,enum64 --lang_exclude=rust", MODULE, daemon.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree.btf(MODULE) == theirs
    [call] = daemon.calls
    path, base = tree.root / MODULE, tree.root / "vmlinux"
    assert (call["module"], call["base"]) == (str(path), str(base))
    at = base.stat()
    assert call["base_stamp"] == [
        at.st_dev,
        at.st_ino,
        at.st_size,
        at.st_mtime_ns,
        at.st_ctime_ns,
    ]
    assert call["features"] == ["var", "enum64"]
    assert call["lang_exclude"] == ["rust"]


def test_its_distilled_base_is_written(tree: Tree, runtime: Path) -> None:
    theirs = tree.header_only()

    def answer(parameters: dict[str, Any]) -> dict[str, Any] | bytes | None:
        distilled = "distilled_base" in parameters["features"]
        return encoded(theirs, theirs + b"base" if distilled else None)(parameters)

    with FakeDaemon(runtime, answer) as daemon:
        tree.kbuild("--btf_features=distilled_base", MODULE, daemon.path)
        assert tree.section(MODULE, ".BTF.base") == theirs + b"base"
        # Without the feature, no old one may stay.
        tree.kbuild("--btf_features=var", MODULE, daemon.path)
        assert not tree.section(MODULE, ".BTF.base")


def test_warnings_come_through(tree: Tree, runtime: Path) -> None:
    answer = encoded(tree.header_only(), warnings=["something was left out"])
    with FakeDaemon(runtime, answer) as daemon:
        done = tree.kbuild("", MODULE, daemon.path)
    assert done.stderr.endswith("loopy.ko: something was left out\n")


DOUBTS: dict[str, Answer] = {
    "not here": error("Unsuitable", reason="base not loaded"),
    "not at all": error("Refused", reason="no", hint=None),
    "unknown method": lambda _: {
        "error": "org.varlink.service.MethodNotFound",
        "parameters": {"method": "io.btfd.Encode"},
    },
    "another file": encoded(b"wrong", stamp=[1, 2, 3, 4, 5]),
    "no base64": lambda p: {"parameters": {"btf": "!", "btf_base": None, "stamp": p["stamp"]}},
    "no bytes": lambda p: {"parameters": {"btf": None, "btf_base": None, "stamp": p["stamp"]}},
    "no JSON": lambda _: b"hello\0",
    "no object": lambda _: b"[1]\0",
    "half a reply": lambda _: b'{"parameters": {',
    "silence": lambda _: None,
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_in_doubt_the_same_bytes_are_made_here(tree: Tree, runtime: Path, doubt: str) -> None:
    expected = tree.expected(MODULE)
    with FakeDaemon(runtime, DOUBTS[doubt]) as daemon:
        done = tree.kbuild("", MODULE, daemon.path)
    assert len(daemon.calls) == 1
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) <= 1, done.stderr
    assert tree.btf(MODULE) == expected


def test_a_stopped_daemon_is_waited_for_once(tree: Tree, runtime: Path) -> None:
    with FakeDaemon(runtime, lambda _: None) as daemon:
        said = [tree.kbuild("", MODULE, daemon.path).stderr for _ in range(3)]
        assert len(daemon.calls) == 1, "the mark keeps the others away"
        assert "did not answer" in said[0]
        assert said[1:] == ["", ""]
        # Half a minute later it is tried again, in silence; an answer takes the mark away.
        mark = daemon.path.with_name(daemon.path.name + ".stalled")
        os.utime(mark, (0, 0))
        assert tree.kbuild("", MODULE, daemon.path).stderr == ""
        assert len(daemon.calls) == 2
        daemon._answer = encoded(tree.header_only())
        os.utime(mark, (0, 0))
        assert tree.kbuild("", MODULE, daemon.path).stderr == ""
        assert not mark.exists()


@pytest.fixture
def full(runtime: Path) -> Iterator[Path]:
    """A socket on which nobody accepts, with no room for one more to wait."""
    runtime.mkdir(mode=0o700)
    path = runtime / "full"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        waiting = []
        while True:
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            waiting.append(one)
            try:
                one.connect(str(path))
            except BlockingIOError:
                break
        yield path
        for one in waiting:
            one.close()


def test_a_full_backlog_is_not_waited_for(tree: Tree, full: Path) -> None:
    expected = tree.expected(MODULE)
    done = tree.kbuild("", MODULE, full)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree.btf(MODULE) == expected


def test_a_place_that_others_can_write_to_is_not_asked(tree: Tree, runtime: Path) -> None:
    expected = tree.expected(MODULE)
    with FakeDaemon(runtime, encoded(b"evil")) as daemon:
        runtime.chmod(0o777)
        done = tree.kbuild("", MODULE, daemon.path)
    assert daemon.calls == []
    assert "others could have put it there" in done.stderr
    assert tree.btf(MODULE) == expected


@pytest.mark.parametrize("there", [False, True])
def test_a_socket_of_nobody_costs_nothing(tree: Tree, runtime: Path, there: bool) -> None:
    runtime.mkdir(mode=0o700)
    path = runtime / "dead"
    if there:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    done = tree.kbuild("", MODULE, path)
    assert (done.returncode, done.stderr) == (0, "")


def test_vmlinux_is_not_the_daemons(tree: Tree, runtime: Path) -> None:
    with FakeDaemon(runtime, encoded(b"x")) as daemon:
        done = tree.run("-J -j", "--btf_encode_detached=out.btf", "vmlinux", socket=daemon.path)
    assert done.returncode == 0, done.stderr
    assert daemon.calls == []
