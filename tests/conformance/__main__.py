"""python -m tests.conformance CASES_DIR...: runs cases and counts; status 1 when one fails."""

import sys
from pathlib import Path

from . import adapter, compare
from .format import Json, read_cases


def judge(case: Json) -> tuple[str, str | None]:
    """`passed`, `failed` or `skipped`, and why."""
    try:
        outcome = adapter.run(case)
        if outcome.skipped is not None:
            return "skipped", outcome.skipped
        why = compare.difference(case, outcome)
    except Exception as error:  # one broken case must not hide the others
        why = f"{type(error).__name__}: {error}"
    return ("passed", None) if why is None else ("failed", why)


def main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python -m tests.conformance CASES_DIR...", file=sys.stderr)
        return 2
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for file, case in read_cases(Path(a) for a in arguments):
        verdict, why = judge(case)
        counts[verdict] += 1
        if verdict == "failed":
            print(f"{file}: {why}")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
