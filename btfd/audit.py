"""Is the BTF on disk the BTF that it should be? Every module is derived anew and compared.

Contract: `audit` reads, and writes nothing. A module is *right* if its .BTF (and .BTF.base, and the
ids in .BTF_ids) are what encoding it now would give, or the same types with the strings in another
order; *foreign* if another encoder's BTF fits vmlinux in a tree where kbuild makes it, or if there
is no DWARF to compare it with; *wrong* if it is anything else or missing; *skipped* without DWARF
and BTF; *unknown* if it cannot be encoded. Nothing that btfd remembers is trusted, except for the
words of .BTF_ids that the linker wrote. Safe from any thread.

Cost: that of encoding every module, without installing.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from btfd import elf, resolver
from btfd.encode import Request, prepare
from btfd.engine import Core, stamp_of
from btfd.errors import Problem, Superseded
from btfd.kbuild import KBUILD
from btfd.tree import BuildTree

RIGHT, FOREIGN, WRONG, SKIPPED, UNKNOWN = "right", "foreign", "wrong", "skipped", "unknown"
#: States that make an audit fail.
BAD = frozenset({WRONG, UNKNOWN})
#: A file that is written meanwhile is looked at again, so many times.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of one module."""

    module: str
    state: str
    reason: str | None = None
    hint: str | None = None


class Audit:
    """One tree's audit. Made in the thread that owns the tree; `module` is for any."""

    def __init__(self, core: Core, tree: BuildTree) -> None:
        self._core = core
        self._root = tree.root
        self._request = tree.request()._replace(threads=1, kept=None)
        self._by_kbuild = tree.use.who == KBUILD
        self._earlier = {m: tree.earlier(m) for m in tree.modules()}

    @property
    def modules(self) -> Iterable[str]:
        return self._earlier

    def module(self, module: str) -> Finding:
        """Looks at one module."""
        path = os.path.join(self._root, module)
        for _ in range(ATTEMPTS):
            before = stamp_of(path)
            found = self._look(module, path, self._request)
            if before is not None and stamp_of(path) == before:
                return found
        return Finding(module, UNKNOWN, "it is written all the time")

    def _look(self, module: str, path: str, request: Request) -> Finding:
        base = request.base.base if request.base else None
        try:
            there, below = self._core.read_layers(path)
        except Problem as e:
            if elf.is_bare(path):
                return Finding(module, SKIPPED, "no DWARF")
            return Finding(module, WRONG, e.cause, e.hint)
        try:
            derived = prepare(self._core, path, request, earlier=self._earlier[module])
        except Superseded:
            return Finding(module, UNKNOWN, "written meanwhile")
        except Problem as e:
            if not elf.is_bare(path):
                return Finding(module, UNKNOWN, f"cannot be encoded: {e.cause}", e.hint)
            objections = self._core.verify(there, base, below)
            if objections:
                return Finding(module, WRONG, f"does not fit vmlinux: {objections[0][0]}")
            return Finding(module, FOREIGN, "no DWARF to compare it with")
        assert derived is not None  # nobody takes the wish back
        made, settled = derived.made, derived.done
        if (there, below) == (settled.btf, made.btf_base):
            if settled.words in (None, self._core.read_section(path, resolver.SECTION)):
                return Finding(module, RIGHT)
            return Finding(module, WRONG, "the ids in .BTF_ids are not those of its BTF")
        objections = self._core.verify(there, base, below)
        if objections:
            return Finding(module, WRONG, f"does not fit vmlinux: {objections[0][0]}")
        if self._same_types(there, below, settled.btf, made.btf_base, request):
            return Finding(module, RIGHT, "the same types, strings in another order")
        if self._by_kbuild:
            return Finding(module, FOREIGN, "fits vmlinux, but btfd would make other types")
        return Finding(module, WRONG, "other types than its DWARF has")

    def _same_types(
        self,
        there: bytes,
        below: bytes | None,
        made: bytes,
        made_below: bytes | None,
        request: Request,
    ) -> bool:
        base = request.base.base if request.base else None
        return self._core.dump(there, base, "raw", below) == self._core.dump(
            made, base, "raw", made_below
        )
