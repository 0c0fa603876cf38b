"""A booted kernel takes the modules that were encoded in place, and refuses a broken one."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from tests.kernel.boot import CannotBoot, Report, boot, depends, missing
from tests.kernel.conftest import Results
from tests.kernel.tree import KernelTree
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES, btfd

#: Large and small, with functions in BPF's sets, per-CPU data, assembler, next to no types.
CHOSEN = (
    *("af_key", "virtio_net", "xfs", "mlx5_core", "nf_conntrack"),
    *("tcp_bbr", "aesni_intel", "libnvdimm", "nls_cp437", "veth"),
)
BROKEN = "ifb"


def closure(tree: KernelTree, names: tuple[str, ...]) -> list[str]:
    """Paths of the modules and of all that they depend on."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = tree.find(name)
            waiting += depends(Elf.read(tree.root / found[name]))
    return sorted(found.values())


def break_btf(path: Path) -> None:
    """Gives the first type of a module's BTF a kind that does not exist."""
    elf = Elf.read(path)
    section = elf.find(".BTF")
    assert section is not None
    header, types = elf.unpack("II", section.offset + 4)
    elf.pack("I", section.offset + header + types + 4, 31 << 24)
    path.write_bytes(elf.data)


@pytest.fixture(scope="module")
def report(
    kernel_tree: KernelTree, results: Results, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    if why := missing():
        pytest.skip(why)
    if not kernel_tree.image.exists():
        pytest.skip(f"{kernel_tree.root} has no vmlinuz to boot")
    work = tmp_path_factory.mktemp("boot")
    copies = []
    for module in closure(kernel_tree, (*CHOSEN, BROKEN)):
        copies.append(work / Path(module).name)
        shutil.copyfile(kernel_tree.root / module, copies[-1])
    done = btfd(
        *("encode", "--base", kernel_tree.vmlinux, "--btf-features", KBUILD_FEATURES),
        *("--lang-exclude", "rust"),
        *copies,
    )
    assert done.returncode == 0, done.stderr
    for copy in copies:
        encoded = Elf.read(copy).contents(".BTF")
        detached = next(results.directory.rglob(copy.name + ".btf")).read_bytes()
        assert encoded == detached, copy.name
    break_btf(next(copy for copy in copies if copy.stem == BROKEN))
    try:
        return boot(kernel_tree.image, copies)
    except CannotBoot as error:
        pytest.fail(str(error))


def test_the_kernel_has_our_base(report: Report, kernel_tree: KernelTree) -> None:
    raw = Elf.read(kernel_tree.vmlinux).contents(".BTF") or b""
    assert report.base == sha256(raw).hexdigest()


@pytest.mark.parametrize("name", CHOSEN)
def test_accepted(report: Report, name: str) -> None:
    verdict = report.modules[name]
    assert verdict.accepted, verdict


def test_dependencies_are_accepted(report: Report) -> None:
    refused = {n: v for n, v in report.modules.items() if not v.accepted and n != BROKEN}
    assert refused == {}


def test_broken_btf_is_refused(report: Report) -> None:
    verdict = report.modules[BROKEN]
    assert verdict.shown == "no"
    assert "Invalid kind" in verdict.log
    assert not verdict.loaded or f"failed to validate module [{BROKEN}] BTF" in verdict.log
