"""Trees and their parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.tree import Parts, Tree, make_parts


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def tree(tmp_path: Path, parts: Parts) -> Tree:
    """Twelve modules in four directories, and a vmlinux."""
    return Tree((tmp_path / "tree").resolve(), parts).build()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the service keeps its index."""
    return tmp_path / "state"
