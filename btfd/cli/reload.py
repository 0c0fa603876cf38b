"""Lets the service read its configuration again. What is loaded stays loaded."""

import argparse

from btfd.api.client import Client
from btfd.cli.output import Output
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    with Client() as client:
        reply = client.call("Reload")
    out.object(reply)
    changed = reply["changed"]
    out.line("changed: " + ", ".join(changed) if changed else "nothing changed")
    if "cache" in changed:
        out.note("`cache` takes effect with the next start")
    return 0
