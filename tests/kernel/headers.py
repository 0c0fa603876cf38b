"""Kernel headers, to build modules outside of a tree, from Debian's packages.

Fetched with an apt state of our own, as `tree` does for kernels, and kept in the same cache: 15 MB
a kernel, and 35 MB for its image. Nothing is installed; the one absolute path in them is changed.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.tree import NoTree, cache_dir, check_machine, command, private_apt
from tests.support.run import must


@dataclass(frozen=True, slots=True)
class Headers:
    """The packages linux-headers-* and linux-kbuild-* of one kernel, unpacked."""

    root: Path

    @property
    def build(self) -> Path:
        """What /lib/modules/RELEASE/build leads to."""
        (found,) = self.root.glob("usr/src/linux-headers-*-amd64")
        return found

    @property
    def vmlinux(self) -> Path:
        """A file with the kernel's .BTF and little else, which Debian has there since 6.12."""
        return self.build / "vmlinux"

    @property
    def image(self) -> Path:
        """What boots, where it was asked for."""
        (found,) = self.root.glob("boot/vmlinuz-*")
        return found

    def make(self, directory: Path, *, jobs: int = 1) -> str:
        """Builds the modules in a directory; what make says."""
        words = ("make", f"-j{jobs}", "-C", self.build, f"M={directory}", "modules")
        done = must(*words, timeout=1800)
        return done.stdout + done.stderr


def get(name: str, *, image: bool = False) -> Headers:
    """Those of the kernel "6.1.0-56-cloud-amd64", say, or of the newest "6.12-cloud-amd64"."""
    target = cache_dir() / f"headers-{name}"
    if not target.exists():
        check_machine(f"headers of {name}")
        cache_dir().mkdir(parents=True, exist_ok=True)
        with (cache_dir() / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _fetch(name, target, image)
    return Headers(target)


def sources(series: str, names: Sequence[str]) -> dict[str, str]:
    """Texts of files of linux-source-SERIES ("6.1"), by their names in it.

    The package is 140 MB, and to unpack it takes some seconds; only these files are kept.
    """
    place = cache_dir() / f"source-{series}"
    if missing := [name for name in names if not (place / name).exists()]:
        check_machine(f"sources of {series}")
        place.mkdir(parents=True, exist_ok=True)
        with (cache_dir() / "lock").open("w") as lock, private_apt() as (work, options):
            fcntl.flock(lock, fcntl.LOCK_EX)
            command("apt-get", *options, "-q", "update")
            package = f"linux-source-{series}"
            command("apt-get", *options, "-q", "download", package, cwd=work / "deb")
            (archive,) = (work / "deb").iterdir()
            command("dpkg-deb", "-x", str(archive), str(work / "root"))
            archive.unlink()
            (packed,) = (work / "root/usr/src").glob("*.tar.xz")
            wanted = [f"{package}/{name}" for name in missing]
            command("tar", "-xJf", str(packed), "-C", str(work), *wanted)
            for name in missing:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (work / package / name).rename(place / name)
    return {name: (place / name).read_text() for name in names}


def _depends(options: list[str], package: str) -> list[str]:
    shown = command("apt-cache", *options, "depends", "--important", package)
    return re.findall(r"Depends: (linux-\S+)", shown)


def _fetch(name: str, target: Path, image: bool) -> None:
    with private_apt() as (work, options):
        command("apt-get", *options, "-q", "update")
        package = f"linux-headers-{name}"
        needs = _depends(options, package)
        if [need for need in needs if need.endswith("-amd64")] == needs:  # a name for the newest
            (package,) = needs
            needs = _depends(options, package)
        wanted = [package, *(need for need in needs if re.search("-common$|-kbuild-", need))]
        if image:
            wanted.append(package.replace("-headers-", "-image-"))
        command("apt-get", *options, "-q", "download", *wanted, cwd=work / "deb")
        for archive in sorted((work / "deb").iterdir()):
            command("dpkg-deb", "-x", str(archive), str(work / "root"))
        headers = Headers(work / "root")
        makefile = headers.build / "Makefile"
        makefile.write_text(makefile.read_text().replace(" /usr/", f" {target}/usr/"))
        (work / "root").rename(target)


__all__ = ["Headers", "NoTree", "get", "sources"]
