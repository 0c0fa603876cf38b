"""pahole's feature names, and how several --btf_features options add up.

Contract: the result is the list of features that are on, in the order of `KNOWN`, which is what
the core takes. The rules are pahole 1.31's: the first option resets everything to off, later
ones add; `default` stands for the default set, a leading `+` means "the default set and these";
unknown names turn nothing on and are handed back, so that they can be named. (pahole itself says
nothing.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

#: What `default` stands for, as of pahole 1.31.
DEFAULT = (
    "encode_force",
    "var",
    "float",
    "decl_tag",
    "type_tag",
    "enum64",
    "optimized_func",
    "consistent_func",
    "decl_tag_kfuncs",
)
#: Every name that pahole 1.31 knows.
KNOWN = (*DEFAULT, "reproducible_build", "distilled_base", "global_var", "attributes", "layout")


@dataclass(frozen=True, slots=True)
class Features:
    """Features that are on, and names that nobody knows."""

    on: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Known names in `KNOWN` order, each once."""
    chosen = set(names)
    return tuple(name for name in KNOWN if name in chosen)


def parse(options: Iterable[str]) -> Features:
    """The values of all --btf_features options, in the order given, as one set."""
    chosen: set[str] = set()
    unknown: list[str] = []
    for option in options:
        text = option
        if text.startswith("+"):
            chosen.update(DEFAULT)
            text = text[1:]
        for name in filter(None, text.split(",")):
            if name == "default":
                chosen.update(DEFAULT)
            elif name in KNOWN:
                chosen.add(name)
            elif name not in unknown:
                unknown.append(name)
    return Features(ordered(chosen), tuple(unknown))
