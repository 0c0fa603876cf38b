"""The units in systemd/: as hard as we say, and consistent with the program."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from btfd import __version__

PROJECT = Path(__file__).parents[2]
UNITS = PROJECT / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(UNITS / name)
    return parser


@pytest.mark.parametrize("name", ["btfd.service", "btfd@.service"])
def test_exposure(name: str, tmp_path: Path) -> None:
    """0.8 or better, as a manager of an ordinary user runs it."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    text = (UNITS / name).read_text()
    if "User=" not in text:
        text = text.replace("[Service]", "[Service]\nUser=alice")
    (tmp_path / "btfd.service").write_text(text.replace("%i", "alice"))
    command = ["systemd-analyze", "security", "--offline=true", str(tmp_path / "btfd.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= 0.8, done.stdout


def test_the_socket_is_where_clients_look() -> None:
    assert unit("btfd.socket")["Socket"]["ListenStream"] == f"%t/btfd/io.btfd-{__version__}"
    template = unit("btfd@.service")["Service"]
    assert template["Environment"] == f"BTFD_SOCKET=/run/btfd-%i/io.btfd-{__version__}"


def test_both_services_say_the_same() -> None:
    own = {
        "User",
        "ExecStart",
        "ExecReload",
        "Environment",
        "CacheDirectory",
        "PrivateUsers",
        "ProtectProc",
    }
    own |= {"CacheDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode"}
    one, other = (
        {key: value for key, value in unit(name)["Service"].items() if key not in own}
        for name in ("btfd.service", "btfd@.service")
    )
    assert one == other


def uninstall(home: Path) -> set[str]:
    """What is left below a home, directories too."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MAKE"))}
    done = subprocess.run(
        ["make", "-C", PROJECT, "uninstall-user"],
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    return {str(path.relative_to(home)) for path in home.rglob("*")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With the files of `make install-user`, and those of a service that ran."""
    home = tmp_path / "a home"
    for name in (
        ".local/share/btfd/venv/bin/btfd",
        ".local/share/btfd/venv/bin/btfd-pahole",
        ".cache/btfd/index.sqlite",
        ".local/state/btfd/trees.json",
        ".config/systemd/user/btfd.service",
        ".config/systemd/user/btfd.socket",
        ".config/systemd/user/default.target.wants/btfd.service",
        ".config/systemd/user/sockets.target.wants/btfd.socket",
        ".local/bin/btfd",
        ".local/bin/btfd-pahole",
    ):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (home / ".config/btfd").mkdir()
    shutil.copy(PROJECT / "config.example.yaml", home / ".config/btfd/config.yaml")
    return home


def test_uninstall_leaves_nothing(home: Path) -> None:
    assert uninstall(home) == {".cache", ".config", ".local", ".local/share", ".local/state"}


def test_uninstall_leaves_what_is_not_ours(home: Path) -> None:
    theirs = {".config/btfd/config.yaml", ".config/systemd/user/btfd.service.d/mine.conf"}
    theirs |= {".config/systemd/user/other.service", ".local/bin/other"}
    for name in theirs:
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("jobs: 1\n")
    left = uninstall(home)
    assert {name for name in left if (home / name).is_file()} == theirs
