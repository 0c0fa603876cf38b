"""Fixtures of the real-kernel tests. All of these tests carry the mark `kernel`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.tree import KernelTree
from tests.support import btf
from tests.support.elf import Elf
from tests.support.run import KBUILD_FEATURES, btfd


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kernel)


@dataclass(frozen=True, slots=True)
class Results:
    """What one run over all modules gave."""

    tree: KernelTree
    directory: Path
    records: dict[str, dict[str, object]]
    base: btf.Btf
    raw_base: Path

    def path(self, module: str) -> Path:
        return self.directory / (module + ".btf")

    def load(self, module: str) -> btf.Btf:
        return btf.load(self.path(module), self.base)


@pytest.fixture(scope="session")
def results(kernel_tree: KernelTree, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every module, encoded into a directory by one `btfd encode`."""
    out = tmp_path_factory.mktemp("kernel")
    raw = out / "base.btf"
    raw.write_bytes(Elf.read(kernel_tree.vmlinux).contents(".BTF") or b"")
    directory = out / "btf"
    directory.mkdir()
    jobs = min(2, os.cpu_count() or 1)
    done = btfd(
        *("encode", "--base", "vmlinux", "--detached", directory, "--json", f"-j{jobs}"),
        *("--btf-features", KBUILD_FEATURES, "--lang-exclude", "rust"),
        *kernel_tree.modules(),
        cwd=kernel_tree.root,
        timeout=1800,
    )
    records = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        records[str(record.get("path"))] = record
    assert records, f"no result of any module: {done.stderr[-2000:]}"
    return Results(kernel_tree, directory, records, btf.load(raw), raw)
