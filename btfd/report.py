"""What there is to say of a tree and of its modules.

Contract: plain values in the words of io.btfd, taken at one moment in the thread that owns the
tree. Nothing is decided here. Cost: one stat a module.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from btfd.encode import Outcome
from btfd.tree import KEPT, SKIPPED, BuildTree


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """One module; see the type Module of the interface."""

    tree: str
    module: str
    state: str
    because: str | None = None
    reason: str | None = None
    hint: str | None = None
    types: int | None = None
    split_bytes: int | None = None
    base: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of_module(tree: BuildTree, module: str, failing: Mapping[str, Outcome]) -> ModuleReport:
    """`failing`: modules that failed for a reason that may pass."""
    record = tree.known(module)
    why = tree.why(module)
    trouble = failing.get(module)
    if trouble is not None and why is not None:
        return ModuleReport(tree.root, module, "failed", why, trouble.reason, trouble.hint)
    if record is None or why is not None:
        return ModuleReport(tree.root, module, "stale", why)
    state = {"failed": "failed", SKIPPED: "skipped", KEPT: "kept"}.get(record.status, "encoded")
    return ModuleReport(
        tree.root,
        module,
        state,
        reason=record.reason,
        types=record.types,
        split_bytes=record.size,
        base=record.base,
    )


def of_modules(tree: BuildTree, failing: Mapping[str, Outcome]) -> list[ModuleReport]:
    """Every module of a tree, in kbuild's order."""
    return [of_module(tree, module, failing) for module in tree.modules()]


def count(modules: list[ModuleReport]) -> dict[str, int]:
    """How many there are, by state."""
    return dict(Counter(module.state for module in modules))
