"""Fixtures of the toolchain tests."""

from __future__ import annotations

import pytest

from tests.toolchain.compilers import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Where everything is built, once for all tests."""
    return Workshop(tmp_path_factory.mktemp("toolchain"))
