"""What is made from the command line: completion and the manual page."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from btfd.__main__ import VERBS
from tests.support.run import must


def page(*words: str) -> str:
    return must(sys.executable, "-m", "btfd", *words).stdout


def completed(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    line = " ".join(f"'{word}'" for word in words)
    script = (
        f"{page('completion', 'bash')}\n"
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _btfd; echo ${{COMPREPLY[@]}}"
    )
    return set(must("bash", "-c", script).stdout.split())


def test_bash_completes_verbs_options_and_values() -> None:
    assert completed("btfd", "") == set(VERBS)
    assert completed("btfd", "wa") == {"watch", "wait"}
    assert completed("btfd", "wait", "--t") == {"--timeout", "--tree"}
    assert completed("btfd", "add", "--use", "") == {"auto", "kbuild", "watcher"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_verb(shell: str) -> None:
    text = page("completion", shell)
    assert all(verb in text for verb in VERBS)
    if shutil.which(shell):
        done = subprocess.run(
            [shell, "-n"], input=text, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_manual_page_is_sound_roff() -> None:
    text = page("man")
    assert text.count(".SS ") == len(VERBS)
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-ww", "-man", "-Tutf8", "-z"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
