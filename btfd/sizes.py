"""What a base saves: every module of a tree encoded twice, on its own and over the tree's vmlinux.

Contract: `measure` writes nothing into the tree and gives the modules in the order asked for. What
is counted are the bytes of a `.BTF` section, header included. A module that cannot be encoded has a
reason instead of sizes and counts for nothing.

Cost: two encodes a module, the one without a base being the longer.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from btfd.encode import BaseInfo
from btfd.engine import Core
from btfd.errors import Problem
from btfd.kbuild import EncoderOptions


@dataclass(frozen=True, slots=True)
class Module:
    """One module; sizes in bytes."""

    path: str
    full: int = 0
    split: int = 0
    types: int = 0
    """Types that are not the base's."""
    reason: str | None = None
    """Why it has no sizes."""


@dataclass(frozen=True, slots=True)
class Total:
    """All modules of a tree; sizes in bytes."""

    modules: int
    full: int
    split: int
    failed: int

    @property
    def saved(self) -> float:
        """The part of the full size that the base saves, 0 to 1."""
        return 1 - self.split / self.full if self.full else 0.0


def measure(
    core: Core,
    paths: Sequence[tuple[str, str]],
    base: BaseInfo,
    options: EncoderOptions,
    jobs: int,
) -> Iterator[Module]:
    """Sizes of modules, given as pairs of a name to show and a path."""
    # A distilled base is a third thing; here the question is with or without.
    features = tuple(name for name in options.features if name != "distilled_base")

    def one(pair: tuple[str, str]) -> Module:
        name, path = pair
        try:
            made = core.encode(
                path,
                base.base,
                features,
                lang_exclude=options.lang_exclude,
                threads=1,
                full=True,
                resolve=False,
                earlier=None,
            )
        except Problem as e:
            return Module(name, reason=e.cause)
        return Module(name, made.full_size or 0, len(made.btf), made.types)

    with ThreadPoolExecutor(jobs, "btfd-sizes") as pool:
        try:
            yield from pool.map(one, paths)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def total(modules: Sequence[Module]) -> Total:
    """Sums over the modules that have sizes."""
    good = [m for m in modules if m.reason is None]
    full, split = sum(m.full for m in good), sum(m.split for m in good)
    return Total(len(good), full, split, len(modules) - len(good))


def largest(modules: Sequence[Module], count: int) -> list[Module]:
    """Those with the most BTF of their own, the largest first."""
    good = [m for m in modules if m.reason is None]
    return sorted(good, key=lambda m: (-m.split, -m.full, m.path))[:count]
