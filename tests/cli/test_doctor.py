"""`btfd doctor`, on this machine and on worse ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.run import run


def doctor(tmp_path: Path, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    clean = {"XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    clean |= {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = run(sys.executable, "-m", "btfd", "doctor", "--json", env=clean | env)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(f["hint"] or f["state"] == "right" for f in found if f["subject"] != "index")
    return done.returncode, {f["subject"]: f for f in found}


def test_every_subject_is_told(tmp_path: Path) -> None:
    status, found = doctor(tmp_path)
    assert {"kernel", "pahole", "inotify watches", "inotify descriptors", "index", "socket"} <= (
        set(found)
    )
    assert status == any(f["state"] == "bad" for f in found.values())


def test_without_pahole(tmp_path: Path) -> None:
    _, found = doctor(tmp_path, PATH="/nowhere")
    assert found["pahole"]["state"] == "remark"


def test_a_tree_that_is_not_there(tmp_path: Path) -> None:
    status, found = doctor(tmp_path, BTFD_TREES=str(tmp_path / "gone"))
    assert (status, found["tree"]["state"]) == (1, "bad")


def test_a_socket_directory_that_others_can_write_to(tmp_path: Path) -> None:
    (tmp_path / "btfd").mkdir()
    (tmp_path / "btfd").chmod(0o777)
    status, found = doctor(tmp_path)
    assert (status, found["socket"]["state"]) == (1, "bad")


LIMITED = """
import sys
open("/proc/sys/user/max_inotify_watches", "w").write("100")
from btfd.__main__ import main
sys.exit(main(["doctor", "--json"]))
"""


def test_too_few_watches(tmp_path: Path) -> None:
    command = ["unshare", "-Ur", sys.executable, "-c", LIMITED]
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("no user namespaces here: " + done.stderr.strip())
    assert done.returncode == 1, done.stderr
    (found,) = (
        f for f in map(json.loads, done.stdout.splitlines()) if f["subject"] == "inotify watches"
    )
    assert found["state"] == "bad"
    assert found["hint"].startswith("sysctl user.max_inotify_watches=")
