"""Whether the outcome of a case is what the case says."""

from itertools import zip_longest

from .adapter import Outcome
from .format import LOWER, Json, complete_all


def difference(case: Json, outcome: Outcome) -> str | None:
    """The first difference in words, or None."""
    if case["op"] == "find":
        answers = [query["expect"] for query in case["queries"]]
        return None if outcome.answers == answers else f"got {outcome.answers}, expected {answers}"
    expected = case["expect"]
    if outcome.error != expected.get("error"):
        return f"got error {outcome.error}, expected {expected.get('error')}"
    if outcome.error is not None:
        return None
    first = 1 + sum(len(case.get(name, [])) for name in LOWER)
    pairs = zip_longest(complete_all(outcome.types, first), complete_all(expected["types"], first))
    for type_id, (got, wanted) in enumerate(pairs, start=first):
        if got != wanted:
            return f"type [{type_id}]: got {got}, expected {wanted}"
    if "strings" in expected and outcome.strings != expected["strings"]:
        return f"got strings {outcome.strings}, expected {expected['strings']}"
    return None
