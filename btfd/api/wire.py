"""What both ends of the socket must agree on: where it is, how a message looks.

Contract: a message is a JSON object in ASCII and a NUL byte. The socket's name has the version in
it, so that a client never meets a service of another version. File names that are no UTF-8 travel
as lone surrogates, as Python holds them.

Cost: nothing is imported but json and os; the version comes from the package itself.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from btfd import __version__
from btfd.errors import Problem

INTERFACE = "io.btfd"
#: Requests above this are refused, replies are not limited.
LARGEST = 4 << 20
END = b"\0"
#: Those of varlink itself.
SERVICE = "org.varlink.service"


class Fault(Problem):
    """An error of the interface, with its name and parameters."""

    def __init__(self, name: str, **parameters: Any) -> None:
        reason = parameters.get("reason")
        super().__init__(
            str(reason or _words(name, parameters)),
            hint=parameters.get("hint"),
            path=parameters.get("tree" if name == f"{INTERFACE}.NoSuchTree" else "path"),
        )
        self.name = name
        self.parameters = parameters


def _words(name: str, parameters: Mapping[str, Any]) -> str:
    if name == f"{INTERFACE}.NoSuchModule":
        return f"no such module: {parameters.get('module')}"
    told = ", ".join(f"{value}" for key, value in parameters.items() if key != "hint")
    return name.rpartition(".")[2] + (f": {told}" if told else "")


def pack(message: Mapping[str, Any]) -> bytes:
    """One message, framed."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + END


def runtime_directory() -> str:
    """Where sockets and cookies are: ours alone, gone after a reboot."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return given
    home = os.environ.get("XDG_RUNTIME_DIR")
    return os.path.join(home, "btfd") if home else f"/tmp/btfd-{os.geteuid()}"


def socket_path() -> str:
    """The service's socket."""
    given = os.environ.get("BTFD_SOCKET")
    return given or os.path.join(runtime_directory(), f"{INTERFACE}-{__version__}")
