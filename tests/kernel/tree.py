"""A real kernel build tree, made from Debian's debug packages.

    python -m tests.kernel.tree      fetch it and print where it is

Apt is asked for the kernel that `linux-image-cloud-amd64-dbg` of this machine's Debian 12 depends
on, or for the newest one before it while that one's image is still missing, as it is for some hours
after a new version. That is done with an apt state of our own, so that nothing of the machine's
changes and no root is needed. What a build would leave is kept in $BTFD_TEST_CACHE (default
~/.cache/btfd-tests) and used again: vmlinux, kernel/**/*.ko, modules.order, include/config/ and
vmlinuz. About 310 MB are fetched, 1.8 GB stay. $BTFD_TEST_TREE names a tree that is there already
instead.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from btfd.encode import kernel_release
from btfd.engine import native

META = "linux-image-cloud-amd64-dbg"
STAMP = ".complete"


class NoTree(Exception):
    """No kernel tree can be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class KernelTree:
    """A build tree with its modules. Never written to."""

    root: Path

    @property
    def vmlinux(self) -> Path:
        return self.root / "vmlinux"

    @property
    def image(self) -> Path:
        """What boots."""
        return self.root / "vmlinuz"

    def modules(self) -> list[str]:
        """Paths below the root, in order."""
        return (self.root / "modules.order").read_text().split()

    @property
    def release(self) -> str:
        """What `uname -r` says on it."""
        found = kernel_release(native(), str(self.vmlinux))
        if found is None:
            raise NoTree(f"{self.vmlinux} does not say of which release it is")
        return found

    def find(self, name: str) -> str:
        """The path of the module with that name."""
        return next(m for m in self.modules() if Path(m).stem.replace("-", "_") == name)


def cache_dir() -> Path:
    return Path(os.environ.get("BTFD_TEST_CACHE") or Path.home() / ".cache" / "btfd-tests")


def present() -> KernelTree | None:
    """The tree that is here already, if one is."""
    given = os.environ.get("BTFD_TEST_TREE")
    if given:
        if not (Path(given) / "vmlinux").exists():
            raise NoTree(f"BTFD_TEST_TREE={given} has no vmlinux")
        return KernelTree(Path(given).resolve())
    stamps = sorted(cache_dir().glob(f"linux-*/{STAMP}"), key=lambda p: p.stat().st_mtime)
    return KernelTree(stamps[-1].parent) if stamps else None


def get() -> KernelTree:
    """The tree that is here already, else a fetched one. Two at once wait for each other."""
    found = present()
    if found:
        return found
    check_machine("kernel tree")
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return present() or _fetch()


def check_machine(what: str) -> None:
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise NoTree(f"no {what} in {cache_dir()}, and no {tool} to fetch one")
    system = Path("/etc/os-release").read_text()
    if "VERSION_CODENAME=bookworm" not in system:
        raise NoTree(f"no {what} in {cache_dir()}, and this is not Debian 12 to fetch one")


@contextmanager
def private_apt() -> Iterator[tuple[Path, list[str]]]:
    """A directory to work in and the options that make apt keep its state there."""
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache_dir()) as name:
        work = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "deb"):
            (work / part).mkdir(parents=True)
        (work / "status").touch()
        options = {
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "",
            "Dir::State::Lists": work / "lists",
            "Dir::State::status": work / "status",
            "Dir::Cache": work / "cache",
            "Acquire::Languages": "none",
        }
        yield work, [part for key, value in options.items() for part in ("-o", f"{key}={value}")]


def command(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise NoTree(f"{words[0]}: {last}")
    return done.stdout


def older() -> KernelTree:
    """The oldest kernel of the same series that apt still has: vmlinux and modules, nothing else.

    $BTFD_TEST_OLDER names one that is there already instead.
    """
    given = os.environ.get("BTFD_TEST_OLDER")
    if given:
        return KernelTree(Path(given).resolve())
    target = cache_dir() / "older"
    if not (target / STAMP).exists():
        check_machine("older kernel")
        cache_dir().mkdir(parents=True, exist_ok=True)
        with (cache_dir() / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (target / STAMP).exists():
                _fetch_older(target)
    return KernelTree(target)


def _fetch_older(target: Path) -> None:
    with private_apt() as (work, options):
        command("apt-get", *options, "-q", "update")
        names = command("apt-cache", *options, "pkgnames", "linux-image-6.1.0-").split()
        known = {
            int(match[1]): match[0]
            for name in names
            if (match := re.fullmatch(r"linux-image-6\.1\.0-(\d+)-cloud-amd64-dbg", name))
        }
        if len(known) < 2:
            raise NoTree("apt knows one 6.1 kernel only")
        command("apt-get", *options, "-q", "download", known[min(known)], cwd=work / "deb")
        (archive,) = (work / "deb").iterdir()
        command("dpkg-deb", "-x", str(archive), str(work / "root"))
        archive.unlink()
        tree = work / "tree"
        tree.mkdir()
        _arrange_debug(work / "root/usr/lib/debug", tree)
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)


def _arrange_debug(debug: Path, tree: Path) -> str:
    """vmlinux, modules and their list; gives the release."""
    (modules,) = (debug / "lib/modules").iterdir()
    release = modules.name
    shutil.move(modules / "kernel", tree / "kernel")
    shutil.move(debug / f"boot/vmlinux-{release}", tree / "vmlinux")
    names = sorted(str(path.relative_to(tree)) for path in tree.glob("kernel/**/*.ko"))
    if not names:
        raise NoTree("the package holds no modules")
    (tree / "modules.order").write_text("".join(name + "\n" for name in names))
    (tree / STAMP).write_text(release + "\n")
    return release


def _fetch() -> KernelTree:
    with private_apt() as (work, options):
        command("apt-get", *options, "-q", "update")
        package = _newest(options)
        wanted = [f"{package}-dbg", package]
        command("apt-get", *options, "-q", "download", *wanted, cwd=work / "deb")
        for archive in sorted((work / "deb").iterdir()):
            command("dpkg-deb", "-x", str(archive), str(work / "root"))
            archive.unlink()
        tree = _arrange(work / "root", work / "tree")
        target = cache_dir() / package.replace("linux-image-", "linux-")
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)
    return KernelTree(target)


def _newest(options: list[str]) -> str:
    """The package of the newest kernel that can be had whole: image and debug symbols."""
    shown = command("apt-cache", *options, "depends", META)
    match = re.search(r"Depends: (linux-image-\S+-)(\d+)(-cloud-amd64)-dbg\s", shown)
    if not match:
        raise NoTree(f"apt knows no {META}")
    series, wanted, flavour = match.groups()
    names = command("apt-cache", *options, "pkgnames", series).split()
    pattern = re.compile(rf"{re.escape(series)}(\d+){flavour}-dbg")
    abis = sorted((int(m[1]) for name in names if (m := pattern.fullmatch(name))), reverse=True)
    for abi in abis:
        package = f"{series}{abi}{flavour}"
        # A name is known before, and after, there is a version of it.
        if all(command("apt-cache", *options, "madison", p) for p in (package, f"{package}-dbg")):
            return package
    raise NoTree(f"apt has no {series}{wanted}{flavour}, nor one before it")


def _arrange(unpacked: Path, tree: Path) -> Path:
    """Puts what the packages hold where a build would have put it."""
    (tree / "include/config").mkdir(parents=True)
    release = _arrange_debug(unpacked / "usr/lib/debug", tree)
    shutil.move(unpacked / f"boot/vmlinuz-{release}", tree / "vmlinuz")
    config = (unpacked / f"boot/config-{release}").read_text().splitlines(keepends=True)
    chosen = "".join(line for line in config if line.startswith("CONFIG_"))
    (tree / "include/config/auto.conf").write_text(chosen)
    (tree / "include/config/kernel.release").write_text(release + "\n")
    return tree


if __name__ == "__main__":
    try:
        print(get().root)
    except NoTree as error:
        sys.exit(f"tests.kernel.tree: {error}")
