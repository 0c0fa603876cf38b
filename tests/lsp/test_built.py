"""What is known of a file's structs, without an editor around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from btfd import kbuild
from btfd.built import Built
from btfd.config import TreeSettings
from btfd.engine import native
from btfd.kbuild import EncoderOptions
from tests.support import sample
from tests.support.elf import Elf
from tests.support.run import btfd
from tests.support.sample import Driver


@pytest.fixture
def driver(encoded_tree: Path, tmp_path: Path) -> Driver:
    return sample.driver(tmp_path, encoded_tree)


def make(driver: Driver, running: Path) -> Built:
    def options(kernel: str) -> EncoderOptions:
        return kbuild.encoder_options(kbuild.read_config(kernel), None)

    trees = [TreeSettings(str(driver.tree))]
    return Built(native(), trees, options, running=str(running))


def test_the_running_kernel_is_held_against(driver: Driver, tmp_path: Path) -> None:
    module, header = driver.tree / Driver.MODULE, str(driver.source / Driver.HEADER)
    assert btfd("encode", module).returncode == 0
    running = tmp_path / "sys"
    running.mkdir()
    built = make(driver, running)
    assert built.differences(header) == []  # it has not loaded the module
    for path, name in ((driver.tree / "vmlinux", "vmlinux"), (module, "loopy")):
        (running / name).write_bytes(Elf.read(path).contents(".BTF") or b"")
    driver.edit("\tu64 bytes;\n", "\tu64 bytes;\n\tu64 lost;\n")
    assert built.look([header]) == [header]
    assert built.look([header]) == []
    sample.build(driver.tree, Driver.MODULE, sources=driver.source)
    assert built.look([header]) == [header]
    # As the linker left it: what has no BTF yet is known from its DWARF.
    assert Elf.read(module).find(".BTF") is None
    told = [(d.change.name, d.change.size, d.reference) for d in built.differences(header)]
    assert told == [
        ("loopy_stats", (16, 24), "the running kernel"),
        ("loopy_priv", (64, 80), "the running kernel"),
    ]


def test_members_through_structs(driver: Driver, tmp_path: Path) -> None:
    built = make(driver, tmp_path / "none")
    main = str(driver.source / Driver.MAIN)
    queue = built.member(main, "struct loopy_priv", ("queue", "next"))
    assert queue is not None
    assert (queue.laid.name, queue.offset, queue.bits) == ("struct list_head", 0, 64)
    assert built.member(main, "struct loopy_priv", ("queue", "none")) is None
    assert built.member(main, "struct none", ("queue",)) is None
    assert built.layout(main, "struct net_device") is not None


def test_a_file_of_vmlinux_and_one_of_nothing(driver: Driver, tmp_path: Path) -> None:
    built = make(driver, tmp_path / "none")
    laid = built.layout(str(driver.source / "fs/file.c"), "struct net_device")
    assert laid is not None and laid.where == "vmlinux"
    assert built.modules(str(tmp_path / "x.c")) == ()
    assert built.layout(str(tmp_path / "x.c"), "struct net_device") is None


def test_a_file_that_is_built_for_the_first_time(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = make(driver, tmp_path / "none")
    main = str(driver.source / Driver.MAIN)
    mod = driver.tree / Driver.MODULE.replace(".ko", ".mod")
    text = mod.read_text()
    mod.unlink()
    assert built.modules(main) == ()
    mod.write_text(text)
    assert built.look([main]) == []  # not looked for all the time
    monkeypatch.setattr("btfd.built.AGAIN", 0.0)
    assert built.look([main]) == [main]
    assert built.modules(main) == (Driver.MODULE,)


def test_what_cannot_be_read_is_answered_as_before(driver: Driver, tmp_path: Path) -> None:
    built = make(driver, tmp_path / "none")
    main, module = str(driver.source / Driver.MAIN), driver.tree / Driver.MODULE
    assert (before := built.layout(main, "struct loopy_priv")) is not None
    sizes = built.sizes(main)
    assert sizes[0].full is not None and sizes[0].full > sizes[0].split
    whole = module.read_bytes()
    module.write_bytes(whole[: len(whole) // 2])  # a link at work
    assert built.look([main]) == [main]
    assert built.layout(main, "struct loopy_priv") == before
    module.unlink()
    assert built.layout(main, "struct loopy_priv") == before
    assert built.sizes(main) == sizes
