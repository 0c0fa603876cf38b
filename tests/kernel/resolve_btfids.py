"""The kernel's own resolve_btfids, from Debian's linux-kbuild package.

$BTFD_TEST_RESOLVE_BTFIDS names one that is there already instead. Else the program of the newest
linux-kbuild-6.12 is fetched with an apt state of our own (2 MB), as `tree` does for kernels.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.kernel.tree import NoTree, cache_dir, check_machine, command, private_apt

PACKAGE = r"linux-kbuild-6\.12\.(\d+)\S*"
INSIDE = "tools/bpf/resolve_btfids/resolve_btfids"


def get() -> Path:
    """The program; `NoTree` says why there is none."""
    given = os.environ.get("BTFD_TEST_RESOLVE_BTFIDS")
    program = Path(given) if given else cache_dir() / "resolve_btfids-6.12"
    if not given and not program.exists():
        check_machine("resolve_btfids")
        cache_dir().mkdir(parents=True, exist_ok=True)
        with (cache_dir() / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                _fetch(program)
    try:
        done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoTree(f"{program}: {error.strerror}") from error
    if "btf_base" not in done.stdout + done.stderr:
        raise NoTree(f"{program} does not run: {done.stderr.strip()}")
    return program


def _fetch(program: Path) -> None:
    with private_apt() as (work, options):
        command("apt-get", *options, "-q", "update")
        shown = command("apt-cache", *options, "pkgnames", "linux-kbuild-6.12")
        names = [m for line in shown.split() if (m := re.fullmatch(PACKAGE, line))]
        if not names:
            raise NoTree("apt knows no linux-kbuild-6.12")
        newest = max(names, key=lambda m: int(m[1]))[0]
        command("apt-get", *options, "-q", "download", newest, cwd=work / "deb")
        (archive,) = (work / "deb").iterdir()
        command("dpkg-deb", "-x", str(archive), str(work / "root"))
        (found,) = (work / "root").glob(f"usr/lib/linux-kbuild-*/{INSIDE}")
        shutil.copy(found, work / "found")
        (work / "found").rename(program)
