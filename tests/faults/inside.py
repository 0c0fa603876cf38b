"""Runs one function in namespaces of its own, where mounts and limits are its own too.

unshare -Urm python -m tests.faults.inside MODULE FUNCTION DIR PARTS
"""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.service import PATIENCE, PROJECT
from tests.faults.tree import Parts

Scenario = Callable[[Path, Parts], None]


def inside(scenario: Scenario, folder: Path, parts: Parts, *flags: str) -> None:
    """Calls `scenario(folder, parts)` under `unshare FLAGS`; skips where that is not allowed."""
    if subprocess.run(["unshare", *flags, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"no `unshare {' '.join(flags)}` here")
    stored = folder / "parts"
    stored.write_bytes(pickle.dumps(parts))
    module, name = scenario.__module__, scenario.__qualname__
    command = ["unshare", *flags, sys.executable, "-m", "tests.faults.inside"]
    done = subprocess.run(
        [*command, module, name, os.fspath(folder), os.fspath(stored)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def mount(where: Path, options: str = "size=64m") -> None:
    """A tmpfs of its own."""
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", where], check=True)


def unmount(where: Path) -> None:
    """Even if somebody stands in it."""
    subprocess.run(["umount", "-l", where], check=True)


def main() -> None:
    module, name, folder, stored = sys.argv[1:]
    scenario: Scenario = getattr(importlib.import_module(module), name)
    with open(stored, "rb") as f:
        parts: Parts = pickle.load(f)
    scenario(Path(folder), parts)


if __name__ == "__main__":
    main()
