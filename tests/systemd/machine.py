"""A Debian with systemd, as an initramfs.

`root` makes a root file system once, in the test cache; `boot` packs it with what a test puts on
top, boots it, and gives what the machine wrote to its second serial port.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from tests.kernel.tree import cache_dir

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3"
PROJECT = Path(__file__).resolve().parents[2]
#: Nothing in here is needed to run.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt")


class CannotBoot(Exception):
    """Something that this needs is not here."""


def missing() -> str | None:
    """What keeps this machine from running it, in words."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("debootstrap", "qemu-system-x86_64", "cpio"):
        if shutil.which(program) is None:
            return f"no {program}"
    return None


def root(version: int) -> Path:
    """Debian 12 with its own systemd (252), or that of its backports (254)."""
    made = cache_dir() / f"systemd-{version}"
    if (made / "complete").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    made.parent.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", made, MIRROR)
    if version > 252:
        _take_from_backports(made)
    (made / "complete").touch()
    return made


def _take_from_backports(made: Path) -> None:
    with open(made / "etc/apt/sources.list", "a") as f:
        f.write(f"deb {MIRROR} bookworm-backports main\n")
    run("chroot", made, "apt-get", "update", "-q")
    install = ("apt-get", "install", "-qy", "--no-install-recommends", "-t", "bookworm-backports")
    run("chroot", made, *install, "systemd", "systemd-sysv", "libpam-systemd")


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBoot(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def put_btfd(top: Path) -> None:
    """This btfd, as it is installed here, into /opt/btfd of the machine."""
    target = top / "opt/btfd"
    here = Path(sysconfig.get_paths()["purelib"])
    for name in ("watchdog", "elftools", "sdnotify", "yaml"):
        shutil.copytree(here / name, target / name)
    shutil.copytree(PROJECT / "btfd", target / "btfd", ignore=shutil.ignore_patterns("__pycache__"))


def boot(image: Path, system: Path, top: Path, *, timeout: float) -> str:
    """Boots `image` with `system`, and `top` laid over it; what /dev/ttyS1 was told."""
    with tempfile.TemporaryDirectory(prefix="systemd-") as folder:
        work = Path(folder)
        initrd = work / "initrd"
        left_out = " ".join(f"-path ./{path} -prune -o" for path in LEFT_OUT)
        pack = "cpio --quiet -o -H newc"
        with open(initrd, "wb") as f:
            for place, skip in ((system, left_out), (top, "")):
                command = f"find . {skip} -print | {pack}"
                subprocess.run(command, shell=True, cwd=place, stdout=f, check=True)
        console, report = work / "console", work / "report"
        command_line = "console=ttyS0 rdinit=/sbin/init psi=1 panic=-1 mitigations=off"
        machine = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-cpu", "max"]
        machine += ["-smp", "2", "-m", "2048", "-display", "none", "-monitor", "none"]
        machine += ["-nodefaults", "-no-reboot", "-kernel", str(image), "-initrd", str(initrd)]
        machine += ["-serial", f"file:{console}", "-serial", f"file:{report}"]
        machine += ["-append", command_line]
        # What it said until then is the answer.
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(machine, stdin=subprocess.DEVNULL, timeout=timeout, check=True)
        told = report.read_text("utf-8", "replace").replace("\r", "")
        if "\nend\n" not in told:
            told += "\nNO END; the console:\n" + console.read_text("latin-1")[-3000:]
        return told
