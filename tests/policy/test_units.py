"""The units in systemd/: as hard as we say, and consistent with the program."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from btfd import __version__

UNITS = Path(__file__).parents[2] / "systemd"


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
