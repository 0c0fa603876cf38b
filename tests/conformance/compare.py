"""Whether the outcome of a case is what the case says."""

from itertools import zip_longest

from .adapter import Outcome
from .format import LOWER, Json, complete_all


def difference(case: Json, outcome: Outcome) -> str | None:
    """The first difference in words, or None.

    Where libbpf has a known defect, a case may also say what is right; either will do.
    """
    if case["op"] == "find":
        answers = [query["expect"] for query in case["queries"]]
        return None if outcome.answers == answers else f"got {outcome.answers}, expected {answers}"
    why = _from(case, outcome, case["expect"])
    if why is not None and "expect_correct" in case:
        right = {**case["expect"], **case["expect_correct"]}
        return None if _from(case, outcome, right) is None else why
    return why


def first_id(case: Json, expected: Json) -> int:
    """The id of the first type of the top layer after the operation."""
    match case["op"]:
        case "distill":
            below = len(expected["distilled_base"])
        case "distill_relocate" | "relocate":
            below = len(case["target_base"])
        case _:
            below = sum(len(case.get(name, [])) for name in LOWER)
    return 1 + below


def _from(case: Json, outcome: Outcome, expected: Json) -> str | None:
    if outcome.error != expected.get("error"):
        return f"got error {outcome.error}, expected {expected.get('error')}"
    if outcome.error is not None:
        return None
    lists = [("type", outcome.types, expected["types"], first_id(case, expected))]
    if "distilled_base" in expected:
        base = expected["distilled_base"]
        lists.append(("type of the distilled base", outcome.distilled_base, base, 1))
    for what, mine, theirs, first in lists:
        pairs = zip_longest(complete_all(mine, first), complete_all(theirs, first))
        for type_id, (got, wanted) in enumerate(pairs, start=first):
            if got != wanted:
                return f"{what} [{type_id}]: got {got}, expected {wanted}"
    if "strings" in expected and outcome.strings != expected["strings"]:
        return f"got strings {outcome.strings}, expected {expected['strings']}"
    return None
