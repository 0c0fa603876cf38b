"""Running btfd and other programs from tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: pahole's names of what kbuild switches on; what the reference results were made with.
KBUILD_FEATURES = (
    "encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func,decl_tag_kfuncs"
)

Argument = str | bytes | Path


def run(
    *command: Argument,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Runs to the end with captured output. Bytes that are no UTF-8 come as surrogates."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )


def must(
    *command: Argument, cwd: Path | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Runs what has to succeed."""
    done = run(*command, cwd=cwd, timeout=timeout)
    assert done.returncode == 0, f"{command!r}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def btfd(
    *args: Argument, cwd: Path | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Runs `btfd` as this interpreter has it."""
    return run(sys.executable, "-m", "btfd", *args, cwd=cwd, timeout=timeout)


def pahole_version() -> str | None:
    """What the pahole in PATH calls itself, such as "v1.24"."""
    try:
        return run("pahole", "--version").stdout.strip() or None
    except FileNotFoundError:
        return None
