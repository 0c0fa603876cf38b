"""Fixtures that several of the test packages use."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.kernel.tree import KernelTree, NoTree, get
from tests.support import sample
from tests.support.run import btfd


def pytest_configure() -> None:
    # What a shell starts in the background ignores it, and so would what tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sample_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample tree as the linker left it. Not to be changed."""
    out = tmp_path_factory.mktemp("sample") / "tree"
    sample.build(out)
    return out


@pytest.fixture(scope="session")
def encoded_tree(sample_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample tree with BTF in its image and its modules. Not to be changed."""
    out = tmp_path_factory.mktemp("encoded") / "tree"
    shutil.copytree(sample_tree, out)
    done = btfd("watch", out, "--once", "--encode-base")
    # only what cannot be encoded is told; without DWARF there is nothing that could fail
    told = [line for line in done.stderr.splitlines() if not line.startswith("hint:")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(told) == len(sample.WITHOUT_DWARF), done.stderr
    assert all(any(name in line for name in sample.WITHOUT_DWARF) for line in told), told
    return out


@pytest.fixture(scope="session")
def kernel_tree() -> KernelTree:
    """Debian's newest 6.1 cloud kernel, fetched where it is not in the cache."""
    try:
        return get()
    except NoTree as error:
        pytest.skip(str(error))
