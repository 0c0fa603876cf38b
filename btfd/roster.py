"""The trees that were added while the service ran; they outlive it.

Contract: one small JSON file in the state directory, replaced as a whole. A file that cannot be
read counts as empty and is kept aside; one that cannot be written is a `Problem`, and then the tree
is served until the end of this run only.
"""

import contextlib
import json
import os

from btfd.config import TreeSettings
from btfd.errors import Problem, from_os

VERSION = 1


def default_path() -> str:
    """`trees.json` in $STATE_DIRECTORY (systemd), $XDG_STATE_HOME/btfd or ~/.local/state/btfd."""
    folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if not folder:
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        folder = os.path.join(home, "btfd")
    return os.path.join(folder, "trees.json")


def read(path: str) -> list[TreeSettings]:
    """What was added."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            known = json.load(f)
        if known["version"] != VERSION:
            raise ValueError("another version")
        return [
            TreeSettings(str(tree["root"]), str(tree.get("use", "")), str(tree.get("base", "")))
            for tree in known["trees"]
        ]
    except OSError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):
        with contextlib.suppress(OSError):
            os.replace(path, path + ".unreadable")
        return []


def write(path: str, trees: list[TreeSettings]) -> None:
    """Replaces the file. Raises Problem."""
    known = {"version": VERSION, "trees": [tree._asdict() for tree in trees]}
    sibling = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(sibling, "w", encoding="ascii") as f:
            json.dump(known, f, indent=1)
            f.flush()
            os.fsync(f.fileno())
        os.replace(sibling, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            os.unlink(sibling)
        problem = from_os(e, path)
        raise Problem(problem.cause, path=path, hint="the tree is not remembered") from e
