"""pahole's feature names, and how several --btf_features options add up.

Contract: the result is the list of features that are on, in the order of `known`, which is what
the core takes. The names are the core's. The rules are pahole 1.31's: the first option resets
everything to off, later ones add; `default` stands for the default set, a leading `+` means "the
default set and these"; unknown names turn nothing on and are handed back, so that they can be
named. (pahole itself says nothing.)

Cost: the first call of any function imports the core.
"""

from collections.abc import Iterable
from typing import NamedTuple


def known() -> tuple[str, ...]:
    """Every name that pahole 1.31 knows, in its order."""
    from btfd import _core

    return _core.FEATURES


def default() -> tuple[str, ...]:
    """What `default` stands for, as of pahole 1.31."""
    from btfd import _core

    return _core.DEFAULT_FEATURES


class Features(NamedTuple):
    """Features that are on, and names that nobody knows."""

    on: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Known names in their order, each once."""
    chosen = set(names)
    # A command line that names none does without the core.
    return tuple(name for name in known() if name in chosen) if chosen else ()


def parse(options: Iterable[str]) -> Features:
    """The values of all --btf_features options, in the order given, as one set."""
    chosen: set[str] = set()
    unknown: list[str] = []
    for option in options:
        text = option
        if text.startswith("+"):
            chosen.update(default())
            text = text[1:]
        for name in filter(None, text.split(",")):
            if name == "default":
                chosen.update(default())
            elif name in known():
                chosen.add(name)
            elif name not in unknown:
                unknown.append(name)
    return Features(ordered(chosen), tuple(unknown))
