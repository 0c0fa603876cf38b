"""Modules and images that change, or are not what they should be, at the wrong moment."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.service import serving
from tests.faults.tree import MODULES, Tree, write_new


def test_a_module_is_replaced_again_and_again(tree: Tree, state: Path) -> None:
    """Often enough to meet the service while it reads, encodes and installs."""
    with serving(tree, state) as service:
        for n in range(600):
            tree.link("drivers/d0/m0.ko", n)
            time.sleep(n % 30 / 1000)
        service.wait_right()
        assert tree.damaged(tree.root / "drivers/d0/m0.ko") is None


def test_a_module_is_rewritten_in_place(tree: Tree, state: Path) -> None:
    path = tree.root / "drivers/d0/m0.ko"
    with serving(tree, state):
        for n in range(100):
            path.write_bytes(tree.parts.modules[n % MODULES])
            time.sleep(n % 10 / 1000)


def test_a_module_is_rewritten_while_it_settles(tree: Tree, state: Path) -> None:
    """Between the encode in advance and the install, with the same size and at any distance."""
    path = tree.root / "drivers/d0/m0.ko"
    with serving(tree, state) as service:
        for n in range(120):
            path.write_bytes(tree.parts.modules[n % 9])
            time.sleep((5 + n % 60) / 1000)
            if n % 30 == 29:
                service.wait_right()


def test_hard_links_keep_their_bytes(tree: Tree, state: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cache.ko"
    data = tree.parts.modules[7]
    cached.write_bytes(data)
    with serving(tree, state) as service:
        path = tree.root / "drivers/d0/m0.ko"
        path.unlink()
        os.link(cached, path)
        service.wait_right()
        assert cached.read_bytes() == data, "what shares its bytes with others stays theirs"


def test_a_read_only_module(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        path = tree.link("drivers/d0/m0.ko", 7)
        path.chmod(0o444)
        service.wait_right()
        assert path.stat().st_mode & 0o777 == 0o444


def test_a_module_that_is_half_written_for_a_while(tree: Tree, state: Path) -> None:
    data = tree.parts.modules[9]
    half = len(data) // 2
    path = tree.root / "drivers/d1/m1.ko"
    with serving(tree, state) as service:
        path.unlink()
        with open(path, "xb") as f:
            f.write(data[:half])
            f.flush()
            time.sleep(0.5)
            assert path.read_bytes() == data[:half], "touched while somebody is writing it"
            assert service.count("failed") == 0, "what is being written has not failed"
            f.write(data[half:])
        service.wait_right()
        path.write_bytes(data[:half])  # and a linker that died
        service.wait(lambda: service.count("failed") == 1)
        assert path.read_bytes() == data[:half]
        tree.link("drivers/d1/m1.ko", 3)


def test_a_module_under_somebody_elses_lease(tree: Tree, state: Path) -> None:
    """A file server's lease makes an open wait for up to 45 s, or fail."""
    path = tree.root / "drivers/d1/m1.ko"
    with serving(tree, state) as service:
        other = path.with_name("other")
        other.write_bytes(tree.parts.modules[9])
        previous = signal.signal(signal.SIGIO, signal.SIG_IGN)
        with open(other, "r+b") as f:
            fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            other.rename(path)
            time.sleep(1)
            fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        signal.signal(signal.SIGIO, previous)
        service.wait_right()


def test_names_in_cyrillic_and_names_that_are_no_utf8(tree: Tree, state: Path) -> None:
    folder = os.fsencode(tree.root) + b"/" + "драйвер".encode() + b"\xff"
    with serving(tree, state) as service:
        os.mkdir(folder)
        for n, name in enumerate(("модуль.ko".encode(), b"\xfe\x80.ko", b"a\nb.ko")):
            write_new(Path(os.fsdecode(folder + b"/" + name)), tree.parts.modules[n])
        service.wait_right()


def test_a_tree_whose_name_is_no_utf8(tree: Tree, state: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tree.root) + b"\xd1\x8f \xff"))
    tree.root.rename(root)
    with serving(Tree(root, tree.parts), state):
        Tree(root, tree.parts).link("drivers/d0/m0.ko", 8)


def test_vmlinux_is_half_written_for_a_while(tree: Tree, state: Path) -> None:
    image, data = tree.root / "vmlinux", tree.parts.bases[1]
    with serving(tree, state) as service:
        image.unlink()
        with open(image, "xb") as f:
            f.write(data[: len(data) // 2])
            f.flush()
            time.sleep(1)
            tree.link("drivers/d0/m0.ko", 8)
            f.write(data[len(data) // 2 :])
        service.wait_right()
        image.write_bytes(data[: len(data) // 2])
        service.wait(lambda: "base-missing" in service.kinds())
        tree.link_base(2)


def test_vmlinux_is_replaced_twice_within_a_second(tree: Tree, state: Path) -> None:
    with serving(tree, state) as service:
        for n in range(4):
            for variant in (n + 1, n + 2):
                tree.link_base(variant)
                time.sleep(0.35)
            service.wait_right()


def test_clean_and_build_again(sample_tree: Path, tmp_path: Path, state: Path) -> None:
    """Real make, real linker, on the sample tree."""
    from tests.faults.tree import Parts
    from tests.support import sample
    from tests.support.run import btfd

    root = tmp_path / "sample"
    shutil.copytree(sample_tree, root)
    assert btfd("encode", root / "vmlinux").returncode == 0
    tree = _Sample(root, Parts((), ()))
    with serving(tree, state) as service:
        for _ in range(2):
            for path in (*root.rglob("*.ko"), *root.rglob("*.o")):
                path.unlink()
            image = (root / "vmlinux").read_bytes()
            sample.build(root)
            write_new(root / "vmlinux", image)
            service.wait_right()


class _Sample(Tree):
    """Without the module that has no DWARF."""

    def paths(self) -> list[Path]:
        return [path for path in super().paths() if path.name != "plain.ko"]


def test_the_clock_jumps(tree: Tree, state: Path) -> None:
    """A new link may be older than the last one, or of the same second, or of the year 2100."""
    path = tree.root / "drivers/d0/m0.ko"
    with serving(tree, state) as service:
        for n, when in enumerate((0, 4_102_444_800, 1, path.stat().st_mtime_ns // 10**9)):
            staged = path.with_name("staged")
            staged.write_bytes(tree.parts.modules[n + 5])
            os.utime(staged, (when, when))
            staged.rename(path)
            service.wait_right()


def test_the_clock_of_the_service_jumps(tree: Tree, state: Path, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        import pytest

        pytest.skip("no libfaketime here")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with serving(tree, state, env=env) as service:
        for n, jump in enumerate(("-400d", "+4000d", "+0")):
            clock.write_text(jump)
            tree.link("drivers/d0/m0.ko", n + 5)
            service.wait_right()
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
