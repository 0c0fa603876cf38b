"""Looks at everything that btfd depends on: kernel, pahole, limits, index, trees, socket, units.

One line a finding, with a hint where something can be done. Status 1 where something is in the
way of making BTF or of following a tree. --json: one object a finding.
"""

import argparse
from dataclasses import asdict

from btfd import config, doctor
from btfd.cli.output import Output
from btfd.engine import Core

_COLOURS = {doctor.RIGHT: "green", doctor.REMARK: "yellow", doctor.BAD: "red"}


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    status = 0
    for finding in doctor.examine(config.load({})):
        if finding.state == doctor.BAD:
            status = 1
        out.object(asdict(finding))
        word = out.paint(f"{finding.state:6}", _COLOURS[finding.state])
        out.line(f"{word} {finding.subject}: {finding.text}")
        if finding.hint is not None:
            out.line(f"       hint: {finding.hint}")
    return status
