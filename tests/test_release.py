"""Of which kernel is a base? With the real core; files are made by gcc."""

import os
import subprocess
from pathlib import Path

import pytest

from btfd.encode import kernel_release
from btfd.engine import native

BANNER = 'const char linux_banner[] = "Linux version 6.12.3-rc1+ (me@here) (gcc) #1\\n";\n'


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "i.c").write_text(f"const char pad[90] = {{1}};\n{BANNER}")
    target = tmp_path / "vmlinux"
    subprocess.run(["gcc", "-g", "-c", "-o", target, tmp_path / "i.c"], check=True)
    return target


def test_the_release_of_an_image(image: Path) -> None:
    assert kernel_release(native(), str(image)) == "6.12.3-rc1+"


def test_what_does_not_tell_its_release(tmp_path: Path, image: Path) -> None:
    core = native()
    apart = tmp_path / "vmlinux.debug"
    subprocess.run(["objcopy", "--only-keep-debug", image, apart], check=True)
    assert kernel_release(core, str(apart)) is None
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "raw").write_bytes(b"\x9f\xeb\x01\x00")
    for name in ("pipe", "raw", "none", "."):
        assert kernel_release(core, str(tmp_path / name)) is None


def test_damage_anywhere_is_survived(image: Path) -> None:
    core, whole = native(), image.read_bytes()
    for length in range(0, len(whole), 37):
        image.write_bytes(whole[:length])
        assert kernel_release(core, str(image)) is None
    for at in range(4, 64):
        image.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        kernel_release(core, str(image))
