"""A tree as the settings want it, with its index.

Contract: `opened` gives a tree and the store that it remembers in, and closes the store at the end;
`store.trouble` can still be asked then. `options` are those of `BuildTree.configure`. What is said
of the tree itself goes before what is said of all. Cost: the tree's, which reads its configuration
and its rows of the index.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from btfd.bases import Bases
from btfd.config import Settings, TreeSettings
from btfd.engine import Core
from btfd.store import Store, default_path
from btfd.tree import BuildTree


def options(settings: Settings, tree: TreeSettings) -> dict[str, Any]:
    """What the user wants of this tree."""
    return {
        "adjust": settings.adjust,
        "encode_base": settings.encode_base,
        "force_base": settings.force_base,
        "threads": settings.threads,
        "resolve_btfids": settings.resolve_btfids,
        "use": tree.use or settings.use,
    }


@contextmanager
def opened(
    settings: Settings, tree: TreeSettings, core: Core, bases: Bases | None = None
) -> Iterator[tuple[BuildTree, Store]]:
    """Opens a tree. `bases`: those of a service, which trees share."""
    store = Store(None if settings.cache == "none" else settings.cache or default_path())
    try:
        wanted = options(settings, tree)
        yield BuildTree(tree.root, core, store, bases=bases, base=tree.base, **wanted), store
    finally:
        store.close()
