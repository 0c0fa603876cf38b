"""What can go wrong, as values: a cause in one line, and what the user can do about it.

Contract: `str(problem)` is one line without a full stop and without the file's name, which is
in `problem.path`. Whoever prints it puts the name in front. No other exception of ours reaches
a user; anything else that does is a bug.
"""

import os


class Problem(Exception):
    """Something that cannot be done, with the reason."""

    status = 1

    def __init__(self, cause: str, *, hint: str | None = None, path: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        self.path = path

    def at(self, path: str) -> "Problem":
        """The same problem, with the file named where it was not."""
        if self.path is None:
            self.path = path
        return self


class UsageProblem(Problem):
    """The command line or the configuration asks for something that does not exist."""

    status = 2


class Refused(Problem):
    """The core cannot serve this input. `kind` is the layer that said so."""

    def __init__(
        self, cause: str, *, kind: str, hint: str | None = None, path: str | None = None
    ) -> None:
        super().__init__(cause, hint=hint, path=path)
        self.kind = kind

    @property
    def lasting(self) -> bool:
        """Whether the same bytes will be refused again; disk and permission troubles pass."""
        return self.kind not in ("io", "install")


class UnknownTree(Problem):
    """A path that lies in no tree that is served."""


class UnknownModule(Problem):
    """A name that no module has."""


class Superseded(Problem):
    """The path no longer names the bytes that were read; nothing was written."""


class Busy(Problem):
    """Somebody else has the file open; nothing was written."""


def from_os(error: OSError, path: str | None = None) -> Refused:
    """An operating system error in our words."""
    name = path if path is not None else _name_of(error)
    text = error.strerror or str(error)
    return Refused(text[:1].lower() + text[1:], kind="io", path=name)


def _name_of(error: OSError) -> str | None:
    return None if error.filename is None else os.fsdecode(error.filename)
