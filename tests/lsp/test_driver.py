"""`btfd lsp` on a real driver: veth of Linux 6.1, built by kbuild over the real vmlinux."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from tests.feedback.drivers import SERIES, SOURCES
from tests.kernel import headers
from tests.kernel.headers import Headers
from tests.kernel.tree import KernelTree
from tests.lsp.client import editor
from tests.support.run import run

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def of(kernel_tree: KernelTree) -> Headers:
    for tool in ("make", "gcc-12"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    try:
        return headers.get(kernel_tree.release)
    except headers.NoTree as error:
        pytest.skip(str(error))


def test_veth(kernel_tree: KernelTree, of: Headers, tmp_path: Path) -> None:
    place, config, kept = tmp_path / "veth", tmp_path / "config/btfd", tmp_path / "kept"
    place.mkdir()
    config.mkdir(parents=True)
    (config / "config.yaml").write_text(
        f"trees:\n  - root: {place}\n    base: {kernel_tree.root}\n"
        f"build: make -C {of.build} M={{tree}} modules\n"
    )
    env = {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "BTFD_SOCKET": str(tmp_path / "run/socket"),
    }
    source = place / "veth.c"
    source.write_text(headers.sources(SERIES, [SOURCES["veth"]])[SOURCES["veth"]])
    (place / "Makefile").write_text("obj-m := veth.o\n")
    of.make(place)
    base = str(kernel_tree.vmlinux)
    saved = run(
        sys.executable,
        "-m",
        "btfd",
        "diff",
        "--save",
        kept,
        "--base",
        base,
        place / "veth.ko",
        env=env,
    )
    assert saved.returncode == 0, saved.stderr

    async def edit() -> None:
        async with editor(env, "--baseline", str(kept), "--build") as one:
            one.open(source)
            ring = await one.hover(source, "struct veth_rq {", "veth_rq")
            assert ring is not None
            assert ring.startswith("**struct veth_rq**: 768 bytes, 12 cache lines, as last built")
            assert "/* XXX 7 bytes hole, try to pack */" in ring
            used = await one.hover(source, "rq->stats", "stats")
            assert used is not None and "offset 432, 72 bytes, cache lines 6 to 7" in used
            device = await one.hover(source, "struct net_device\t*dev;", "net_device")
            assert device is not None and device.startswith("**struct net_device**: ")
            hints = await one.hints(source)
            assert hints["bool\t\t\trx_notify_masked;"] == "@504 1 B, hole 7 B"
            assert hints["struct ptr_ring\t\txdp_ring;"] == "@512 192 B, lines 8-10"
            (lens,) = await one.lenses(source)
            assert lens.startswith("veth.ko: ") and lens.endswith(" bytes of BTF")

            masked = "\tbool\t\t\trx_notify_masked;\n"
            one.type(source, masked, f"{masked}\tu64\t\t\tlate[2];\n")
            one.save(source)
            await one.until(lambda: bool(one.diagnostics(source)))
            ((where, said),) = one.diagnostics(source)
            assert where == "veth_rq"
            assert said == (
                "struct veth_rq 768 -> 832 bytes: +late (u64[2]) at 512; xdp_ring moved "
                "512 -> 576; xdp_rxq moved 704 -> 768; new hole of 48 bytes behind late "
                f"(against {kept})"
            )
            hints = await one.hints(source)
            assert hints["u64\t\t\tlate[2];"] == "@512 16 B, line 8, hole 48 B"

    asyncio.run(edit())
