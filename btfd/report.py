"""What there is to say of a tree and of its modules.

Contract: plain values in the words of io.btfd, taken at one moment in the thread that owns the
tree. Nothing is decided here. Cost: one stat a module.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from btfd.encode import Outcome
from btfd.tree import KEPT, SKIPPED, BuildTree

if TYPE_CHECKING:
    from btfd.daemon import Daemon


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


def of_tree(daemon: "Daemon", modules: list[ModuleReport]) -> dict[str, Any]:
    """The tree that a loop follows; see the type Tree of the interface."""
    tree, work, watcher = daemon.tree, daemon.work, daemon.watcher
    state, reason, hint = _state(daemon)
    return {
        "state": state,
        "reason": reason,
        "hint": hint,
        "use": tree.use.who,
        "use_origin": tree.use.origin,
        "base": tree.digest,
        "base_path": tree.base_path,
        "kernel_release": tree.release,
        "modules": count(modules),
        "queued": len(work.scheduler),
        "running": work.scheduler.running,
        "directories": 0 if watcher is None else watcher.directories,
        "losses": daemon.losses,
        "last_loss": daemon.last_loss,
        "warnings": _warnings(daemon),
    }


def _state(daemon: "Daemon") -> tuple[str, str | None, str | None]:
    """The worst that is the case, why, and what can be done."""
    if daemon.blocked is not None:
        return "blocked", daemon.blocked.reason, daemon.blocked.hint
    problem = daemon.base_problem
    if problem is not None:
        return "waiting", problem.cause, problem.hint
    if daemon.watcher is not None and daemon.watcher.polled is not None:
        return "degraded", daemon.watcher.polled, daemon.watcher.advice()
    return "ready", None, None


def _warnings(daemon: "Daemon") -> list[str]:
    found = [f"{gate.symbol}: {gate.reason}" for gate in daemon.tree.gates() if not gate.fatal]
    if daemon.work.held is not None:
        found.append(daemon.work.held)
    return found
