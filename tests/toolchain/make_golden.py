"""Writes golden.json with what pahole 1.31 makes of the sources in assembler.

Of annotations.s with what the pahole after it makes, which calls itself 1.31 too for a while.

BTFD_PAHOLE_131=.../pahole python -m tests.toolchain.make_golden
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.support.btf import Btf, bytes_digest
from tests.toolchain.compilers import Workshop
from tests.toolchain.reference import pahole
from tests.toolchain.test_forms import ASSEMBLED, BY_HAND, FEATURES, GOLDEN, by_hand


def main() -> int:
    judge = pahole()
    if judge is None or not judge.is_reference:
        print(__doc__, file=sys.stderr)
        return 2
    digests = {}
    with tempfile.TemporaryDirectory() as name:
        workshop = Workshop(Path(name))
        for case in BY_HAND:
            for machine in ASSEMBLED:
                path = by_hand(case, machine, workshop)
                raw = judge.encode(path, Path(name) / "out.btf", FEATURES, None, "rust")
                assert raw is not None, path
                digests[f"{case}-{machine.name}"] = bytes_digest(Btf(raw))
    GOLDEN.write_text(json.dumps(digests, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
