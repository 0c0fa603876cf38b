"""Building the sample tree."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.run import must

SOURCES = Path(__file__).resolve().parent.parent / "sample"
#: Modules without any debug information: they cannot get BTF, and that is no failure.
WITHOUT_DWARF = frozenset({"kernel/lib/plain.ko"})


def build(out: Path, *options: str, sources: Path = SOURCES) -> str:
    """Makes the tree in `out`, or what is asked for in `options`; returns what make said."""
    return must("make", "-j2", "-C", sources, f"OUT={out}", *options).stdout


def modules(out: Path) -> list[str]:
    """The modules of a tree, as modules.order names them."""
    return (out / "modules.order").read_text().split()


@dataclass(frozen=True, slots=True)
class Driver:
    """The sample's loopy in a tree of its own, to be edited and built: `place` below `root`."""

    root: Path

    MODULE = "kernel/drivers/net/loopy.ko"
    HEADER = "kernel/drivers/net/loopy.h"
    MAIN = "kernel/drivers/net/loopy_main.c"

    @property
    def tree(self) -> Path:
        """Where it is built."""
        return self.root / "tree"

    @property
    def source(self) -> Path:
        """Where its sources are."""
        return self.root / "source"

    @property
    def env(self) -> dict[str, str]:
        """A configuration that serves and builds this tree, and a socket of its own."""
        return {
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "BTFD_SOCKET": str(self.root / "run/socket"),
        }

    def edit(self, old: str, new: str, name: str = HEADER) -> None:
        """Replaces text in a source, and makes it newer than the objects, whatever the clock."""
        file = self.source / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        late = time.time() + 2
        os.utime(file, (late, late))


def driver(root: Path, encoded: Path) -> Driver:
    """Makes a `Driver` with what kbuild leaves beside one; vmlinux is taken from `encoded`."""
    made = Driver(root)
    shutil.copytree(SOURCES, made.source)
    build(made.tree, sources=made.source)
    shutil.copy(encoded / "vmlinux", made.tree / "vmlinux")
    (made.tree / "source").symlink_to(made.source)
    folder = made.tree / "kernel/drivers/net"
    parts = ("loopy_main", "loopy_ethtool")
    (folder / "loopy.mod").write_text("".join(f"kernel/drivers/net/{p}.o\n" for p in parts))
    for part in parts:
        (folder / f".{part}.o.cmd").write_text(f"deps := {made.source / Driver.HEADER}\n")
    config = root / "config/btfd"
    config.mkdir(parents=True)
    (config / "config.yaml").write_text(
        f"trees: [{made.tree}]\nbuild: make -s -C {made.source} OUT={{tree}} {{modules}}\n"
    )
    return made
