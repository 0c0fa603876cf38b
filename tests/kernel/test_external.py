"""A module built outside of the kernel's tree, by kbuild with Debian's headers.

Those of 6.1 have no vmlinux: kbuild says that it skips BTF, and we encode over the base that the
running kernel would show. Since 6.12 there is one with nothing but BTF, and kernels take a module
with a distilled base, which does not depend on the ids of vmlinux.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kernel import headers
from tests.kernel.boot import CannotBoot, Report, boot, missing
from tests.kernel.headers import Headers
from tests.kernel.tree import KernelTree
from tests.support import btf
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES, btfd

NAMES = ("plain", "distilled", "kbuilds")
SOURCE = """
#include <linux/module.h>
#include <linux/netdevice.h>

struct hello_state {
    struct net_device *dev;
    struct list_head list;
    int count;
};
static struct hello_state state = { .count = 1 };

int hello_count(struct hello_state *of, struct sk_buff *skb);
noinline int hello_count(struct hello_state *of, struct sk_buff *skb)
{
    return of->count + (skb ? skb->len : 0);
}
EXPORT_SYMBOL_GPL(hello_count);

static int __init hello_init(void)
{
    return hello_count(&state, NULL) == 1 ? 0 : -EINVAL;
}
module_init(hello_init);
MODULE_LICENSE("GPL");
"""


def build(names: tuple[str, ...], of: Headers, work: Path) -> str:
    """The module of SOURCE under several names; what make says."""
    for tool in ("make", "gcc-12"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    for name in names:
        (work / f"{name}.c").write_text(SOURCE.replace("hello", name))
    (work / "Makefile").write_text(f"obj-m := {' '.join(f'{name}.o' for name in names)}\n")
    return of.make(work)


def encode(path: Path, base: Path, features: str = KBUILD_FEATURES) -> None:
    done = btfd("encode", "--base", base, "--btf-features", features, path)
    assert done.returncode == 0, done.stderr
    checked = btfd("verify", "--base", base, path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def types(path: Path, base: Path) -> btf.Btf:
    return btf.load(path, btf.load(base))


def get(name: str, *, image: bool = False) -> Headers:
    try:
        return headers.get(name, image=image)
    except headers.NoTree as error:
        pytest.skip(str(error))


def booted(image: Path, paths: list[Path]) -> Report:
    if why := missing():
        pytest.skip(why)
    try:
        return boot(image, paths, with_init={path.stem for path in paths})
    except CannotBoot as error:
        pytest.fail(str(error))


def test_over_the_running_kernel(kernel_tree: KernelTree, tmp_path: Path) -> None:
    said = build(("hello",), get(kernel_tree.release), tmp_path)
    module, base = tmp_path / "hello.ko", tmp_path / "vmlinux"
    assert "Skipping BTF generation" in said
    assert Elf.read(module).find(".BTF") is None
    # as /sys/kernel/btf has it
    base.write_bytes(Elf.read(kernel_tree.vmlinux).contents(".BTF") or b"")
    encode(module, base)
    (state,) = types(module, base).named("STRUCT", "hello_state")
    assert state.own[2] == (("dev", 0), ("list", 64), ("count", 192))
    assert booted(kernel_tree.image, [module]).modules["hello"].accepted


def test_distilled_base(tmp_path: Path) -> None:
    newer = get("6.12-cloud-amd64", image=True)
    plain, distilled, kbuilds = (tmp_path / f"{name}.ko" for name in NAMES)
    assert "BTF [M]" in build(NAMES, newer, tmp_path)
    # What Debian's pahole made is what we do, but for the choice of functions.
    own = types(kbuilds, newer.vmlinux)
    encode(kbuilds, newer.vmlinux)
    alike = btf.compare(types(kbuilds, newer.vmlinux), own, functions=False)
    assert alike.same, alike.lines

    encode(plain, newer.vmlinux)
    encode(distilled, newer.vmlinux, f"{KBUILD_FEATURES},distilled_base")
    file = Elf.read(distilled)
    own_base, split = file.contents(".BTF.base"), file.contents(".BTF")
    assert own_base and split
    assert Elf.read(plain).find(".BTF.base") is None
    assert b"net_device\0" in own_base and b"net_device\0" not in split

    report = booted(newer.image, [plain, distilled])
    assert report.modules["plain"].accepted, report.modules["plain"]
    verdict = report.modules["distilled"]
    assert (verdict.loaded, verdict.shown, verdict.log) == (True, "other", "")
    # The kernel has put it onto its own base.
    base = btf.load(newer.vmlinux)
    relocated = btf.Btf(verdict.other, base)
    (state,) = relocated.named("STRUCT", "distilled_state")
    assert state.own == types(plain, newer.vmlinux).named("STRUCT", "plain_state")[0].own
    pointer, inside, number = (relocated[ref] for ref in state.refs)
    (device,) = base.named("STRUCT", "net_device")
    assert relocated[pointer.refs[0]] is device
    assert [(one.kind, one.name) for one in (inside, number)] == [
        ("STRUCT", "list_head"),
        ("INT", "int"),
    ]
