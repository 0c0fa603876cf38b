"""A booted kernel takes the modules that were encoded in place, and refuses broken ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.kernel.boot import CannotBoot, Report, boot, depends, missing
from tests.kernel.conftest import Results
from tests.kernel.tree import KernelTree
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES, btfd

#: Large and small, with per-CPU data, assembler, next to no types.
CHOSEN = (
    *("af_key", "virtio_net", "xfs", "mlx5_core", "aesni_intel", "libnvdimm", "nls_cp437", "veth"),
    *("kvm", "dm_mod", "sctp", "openvswitch", "ena", "fuse", "btrfs", "nfsd"),
)
#: Their init registers functions for BPF by the ids in .BTF_ids.
WITH_IDS = ("nf_conntrack", "nf_nat", "tcp_bbr", "tcp_dctcp")


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


PTR = 2
#: Bytes after a type's first three words, by kind: always, and for each of its members.
FOLLOWS = {
    **{1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0)},
    **{15: (0, 12), 17: (4, 0), 19: (0, 12)},
}

# ---- ways to be wrong --------------------------------------------------------------------------


def _at(elf: Elf) -> tuple[int, int, int]:
    """Of a module's BTF: where it is, where its types are, their length."""
    section = elf.find(".BTF")
    assert section is not None
    header, types, length = elf.unpack("III", section.offset + 4)
    return section.offset, section.offset + header + types, length


def unknown_kind(elf: Elf) -> None:
    elf.pack("I", _at(elf)[1] + 4, 31 << 24)


def bad_name(elf: Elf) -> None:
    elf.pack("I", _at(elf)[1], 0x7FFFFFFF)


def bad_magic(elf: Elf) -> None:
    elf.pack("H", _at(elf)[0], 0xEB9E)


def endless_string(elf: Elf) -> None:
    """The last string has no end."""
    section = elf.find(".BTF")
    assert section is not None
    elf.pack("B", section.offset + section.size - 1, ord("x"))


def beyond_the_end(elf: Elf) -> None:
    elf.pack("I", _at(elf)[0] + 12, _at(elf)[2] + (1 << 20))


def bad_type(elf: Elf) -> None:
    """The first pointer leads to an id that none can have; of others the kernel does not ask."""
    _, at, length = _at(elf)
    end = at + length
    while at < end:
        _, info, _ = elf.unpack("III", at)
        kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
        if kind == PTR:
            elf.pack("I", at + 8, 0x7FFFFFFF)
            return
        always, each = FOLLOWS.get(kind, (0, 0))
        at += 12 + always + each * vlen
    pytest.fail("no pointer to break")


#: Modules that nothing depends on, how each is broken, and what the kernel says to it.
BROKEN: dict[str, tuple[Callable[[Elf], None], str]] = {
    "ifb": (unknown_kind, "Invalid kind"),
    "dummy": (bad_name, "Invalid name_offset"),
    "nls_cp850": (bad_magic, "Invalid magic"),
    "nls_cp852": (endless_string, "Invalid string section"),
    "nls_cp855": (beyond_the_end, "section length too long"),
    "macvlan": (bad_type, "Invalid type_id"),
}


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
    for module in closure(kernel_tree, (*CHOSEN, *WITH_IDS, *BROKEN)):
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
        if copy.stem in BROKEN:
            elf = Elf.read(copy)
            BROKEN[copy.stem][0](elf)
            copy.write_bytes(elf.data)
    running = closure(kernel_tree, WITH_IDS)
    try:
        return boot(
            kernel_tree.image, copies, with_init={Path(m).stem.replace("-", "_") for m in running}
        )
    except CannotBoot as error:
        pytest.fail(str(error))


def test_the_kernel_has_our_base(report: Report, kernel_tree: KernelTree) -> None:
    raw = Elf.read(kernel_tree.vmlinux).contents(".BTF") or b""
    assert report.base == sha256(raw).hexdigest()


@pytest.mark.parametrize("name", CHOSEN)
def test_accepted(report: Report, name: str) -> None:
    verdict = report.modules[name]
    assert verdict.accepted, verdict


@pytest.mark.parametrize("name", WITH_IDS)
def test_its_init_registers_what_bpf_may_call(report: Report, name: str) -> None:
    verdict = report.modules[name]
    assert verdict.accepted, verdict


def test_dependencies_are_accepted(report: Report) -> None:
    refused = {n: v for n, v in report.modules.items() if not v.accepted and n not in BROKEN}
    assert refused == {}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_btf_is_refused(report: Report, name: str) -> None:
    """Where the kernel was configured to load such a module all the same, it has no BTF."""
    verdict = report.modules[name]
    assert verdict.shown == "no"
    assert BROKEN[name][1] in verdict.log
    assert not verdict.loaded or f"failed to validate module [{name}] BTF" in verdict.log
