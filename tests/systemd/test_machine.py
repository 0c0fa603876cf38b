"""The user units and the template, started, reloaded, harmed and stopped by a real systemd."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.tree import Tree, make_parts
from tests.kernel import tree as kernel
from tests.systemd import machine, scenario

TIMEOUT = 2400.0

COMMAND = """#!/bin/sh
export PYTHONPATH=${BTFD_HARM:+$BTFD_HARM:}/opt/btfd
exec /usr/bin/python3 -m btfd "$@"
"""
#: Python runs this first; a hanging reader is what a deadlock would be.
HARM = """
import threading
from btfd import watch
handle = watch._Reader.handle_event
def harmed(self, event):
    if event.name == b"poison":
        threading.Event().wait()
    handle(self, event)
watch._Reader.handle_event = harmed
"""
PROBE = """[Unit]
Description=What the test asks
After=multi-user.target user@1000.service

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /opt/scenario.py
StandardError=tty
TTYPath=/dev/ttyS1

[Install]
WantedBy=multi-user.target
"""


def lay_over(top: Path, scratch: Path, system: Path) -> None:
    """The files of the machine that are ours."""
    machine.put_btfd(top)
    shutil.copy(scenario.__file__, top / "opt/scenario.py")
    write(top / "opt/harm/sitecustomize.py", HARM)
    home = top / "home/alice"
    for command in (home / ".local/bin/btfd", top / "usr/bin/btfd"):
        write(command, COMMAND, 0o755)
    units = machine.PROJECT / "systemd"
    user = home / ".config/systemd/user"
    user.mkdir(parents=True)
    for name in ("btfd.service", "btfd.socket"):
        shutil.copy(units / name, user / name)
    write(top / "etc/systemd/system/btfd@.service", (units / "btfd@.service").read_text())
    write(top / "etc/systemd/system/probe.service", PROBE)
    wants = top / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "probe.service").symlink_to("../probe.service")
    write(top / "var/lib/systemd/linger/alice", "")
    for name, line in (
        ("passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n"),
        ("group", "alice:x:1000:\n"),
        ("shadow", "alice:!:19000:0:99999:7:::\n"),
    ):
        write(top / "etc" / name, (system / "etc" / name).read_text() + line)
    Tree(home / "tree", make_parts(scratch)).build()
    for folder, folders, files in os.walk(home):
        for name in (".", *folders, *files):
            os.chown(os.path.join(folder, name), 1000, 1000)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.systemd
@pytest.mark.parametrize("version", [252, 254])
def test_in_a_machine(tmp_path: Path, version: int) -> None:
    why = machine.missing()
    if why is not None:
        pytest.skip(why)
    (tmp_path / "scratch").mkdir()
    top = tmp_path / "top"
    system = machine.root(version)
    lay_over(top, tmp_path / "scratch", system)
    told = machine.boot(kernel.get().image, system, top, timeout=TIMEOUT)
    print(told)
    told = told.partition("\nend\n")[0]
    verdicts = [line for line in told.splitlines() if not line.startswith("#")]
    steps = [f"{step.__name__} ok" for step in scenario.steps(version)]
    assert verdicts == steps, told
