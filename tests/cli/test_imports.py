"""What a verb does not need, it does not import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.policy.fake import make_tree

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; from btfd.__main__ import main; from tests.policy.fake import FakeCore\n"
    "try: main(sys.argv[1:], FakeCore())\n"
    "finally: print(*sys.modules, file=sys.stderr)"
)
#: For refused files, following, systemd, configuration files, the service, the tree's resolver.
COLD = {
    *("elftools", "watchdog", "sdnotify", "yaml", "asyncio", "socket"),
    *("subprocess", "tempfile", "secrets"),
}


def imported(folder: Path, *words: str) -> set[str]:
    """Modules that are there when a command has ended."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_a_run_over_a_tree(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    found = imported(tmp_path, "watch", str(tree), "--once")
    assert "btfd.daemon" in found
    assert not found & COLD


def test_an_encode(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 1)
    found = imported(tmp_path, "encode", f"{tree}/drivers/d0/m0.ko", "--base", f"{tree}/vmlinux")
    assert "btfd.encode" in found
    assert not found & (COLD | {"sqlite3", "concurrent.futures"})


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_no_verb(tmp_path: Path, word: str) -> None:
    found = imported(tmp_path, word)
    assert not found & COLD
    assert not [name for name in found if name.startswith("btfd.cli.") and "output" not in name]
