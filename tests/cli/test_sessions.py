"""docs/sessions.md: every command is run, and every line of output is what stands there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support import sample
from tests.support.run import btfd, must, run

SESSIONS = Path(__file__).resolve().parents[2] / "docs/sessions.md"
LOOPY = "kernel/drivers/net/loopy.ko"
EDITS = {
    "kernel/drivers/net/loopy.h": (
        ("\tu64 bytes;\n", "\tu64 bytes;\n\tu32 dropped;\n"),
        ("u32 (*get_link)(struct loopy_priv *priv);", "bool (*get_link)(struct loopy_priv *priv);"),
    ),
    "kernel/drivers/net/loopy_ethtool.c": (("static u32 ", "static bool "),),
}
COMMANDS = (
    "btfd diff old/loopy.ko new/loopy.ko --base vmlinux",
    "btfd diff --all old/loopy.ko new/loopy.ko --base vmlinux --format gcc",
    "btfd layout loopy_priv --module new/loopy.ko --base vmlinux",
    "btfd layout loopy_stats --module new/loopy.ko --base vmlinux --diff old/loopy.ko",
    "btfd diff --save abi.baseline old/loopy.ko --base vmlinux",
    "btfd diff --baseline abi.baseline --fail-on layout new/loopy.ko --base vmlinux",
)


@pytest.fixture(scope="module")
def place(encoded_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`old/loopy.ko`, `new/loopy.ko` and their `vmlinux`."""
    root = tmp_path_factory.mktemp("sessions")
    shutil.copytree(sample.SOURCES, root / "source")
    for name, steps in EDITS.items():
        file = root / "source" / name
        for old, new in steps:
            assert old in file.read_text(), (name, old)
            file.write_text(file.read_text().replace(old, new))
    must("make", "-s", "-C", root / "source", f"OUT={root / 'tree'}", LOOPY)
    for folder in ("old", "new"):
        (root / folder).mkdir()
    shutil.copy(encoded_tree / LOOPY, root / "old/loopy.ko")
    shutil.copy(root / "tree" / LOOPY, root / "new/loopy.ko")
    shutil.copy(encoded_tree / "vmlinux", root / "vmlinux")
    assert btfd("encode", "--base", root / "vmlinux", root / "new/loopy.ko").returncode == 0
    return root


def session(place: Path) -> str:
    text = []
    for command in COMMANDS:
        words = command.split()[1:]
        done = run(sys.executable, "-m", "btfd", *words, cwd=place)
        text.append(f"    $ {command}")
        text += [f"    {line}".rstrip() for line in (done.stdout + done.stderr).splitlines()]
        if done.returncode:
            text += ["    $ echo $?", f"    {done.returncode}"]
        text.append("")
    return "\n".join(text).rstrip() + "\n"


def test_the_sessions_in_the_docs_are_what_happens(place: Path) -> None:
    head, mark, _ = SESSIONS.read_text().partition("\n    $ ")
    now = session(place)
    if os.environ.get("BTFD_WRITE_SESSIONS"):
        SESSIONS.write_text(f"{head.rstrip()}\n\n{now}")
    assert mark or os.environ.get("BTFD_WRITE_SESSIONS")
    assert SESSIONS.read_text() == f"{head.rstrip()}\n\n{now}"
