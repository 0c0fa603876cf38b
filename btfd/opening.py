"""A tree as the settings want it, with its index.

Contract: `opened` gives a tree and the store that it remembers in, and closes the store at the end;
`store.trouble` can still be asked then. `options` are those of `BuildTree.configure`. What is said
of the tree itself goes before what is said of all. Cost: the tree's, which reads its configuration
and its rows of the index.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from btfd.bases import Bases
from btfd.config import Settings, TreeSettings
from btfd.engine import Core
from btfd.kept import Kept
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
    index = None if settings.cache == "none" else settings.cache or default_path()
    store = Store(index)
    if bases is None:
        bases = Bases(core)
    kept = None if index is None else Kept(_types(index, tree.root), core, bases.copy)
    try:
        wanted = options(settings, tree)
        yield (
            BuildTree(tree.root, core, store, bases=bases, base=tree.base, kept=kept, **wanted),
            store,
        )
    finally:
        store.close()


def _types(index: str, root: str) -> str:
    """Where types of a tree's modules are kept: beside the index."""
    name = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=16).hexdigest()
    return os.path.join(os.path.dirname(index), "types", name)
