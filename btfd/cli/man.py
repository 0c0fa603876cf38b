"""Prints the manual page btfd(1) as roff. Made from the command line itself.

btfd man | man -l -
"""

import argparse
import inspect

from btfd import __version__, config
from btfd.cli import completion
from btfd.cli.output import Output
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    from btfd.__main__ import VERBS, parser

    out.text(page(parser(VERBS)))
    return 0


def page(top: argparse.ArgumentParser) -> str:
    """The whole page."""
    lines = [
        f'.TH BTFD 1 "" "btfd {__version__}" "User Commands"',
        ".SH NAME",
        f"btfd \\- {roff((top.description or '').rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B btfd\n.I VERB\n[\\fIoption\\fR ...] [\\fIargument\\fR ...]",
        ".SH VERBS",
    ]
    for name, (_, parser) in completion.verbs(top).items():
        usage = " ".join(parser.format_usage().split()[1:]).removeprefix("btfd ")
        lines += [f".SS {name}", f".B {roff('btfd ' + usage)}"]
        lines += paragraphs(parser.description or "")
        for action, text in completion.options(parser):
            told = ", ".join(f"\\fB{roff(option)}\\fR" for option in action.option_strings)
            if action.nargs != 0:
                told += f" \\fI{roff(str(action.metavar or action.dest.upper()))}\\fR"
            lines += [".TP", told, roff(text)]
    lines += [".SH EXIT STATUS", *verbatim(top.epilog or "")]
    lines += [".SH CONFIGURATION", roff("The keys of config.yaml; environment BTFD_<KEY>:")]
    for key, kind in config.KINDS.items():
        lines += [".TP", f"\\fB{roff(key)}\\fR", roff(kind)]
    lines += [".SH FILES"]
    for path in ("~/.config/btfd/config.yaml", config.SYSTEM_FILE):
        lines += [".TP", f"\\fI{roff(path)}\\fR", "configuration; the first that has a key wins"]
    return "\n".join(lines) + "\n"


def roff(text: str) -> str:
    """Text in which nothing is a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def paragraphs(text: str) -> list[str]:
    """Plain text: what is indented stays as it is."""
    lines: list[str] = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith(" ") or "\n " in part:
            lines += verbatim(part)
        else:
            lines += [".PP", roff(" ".join(part.split()))]
    return lines


def verbatim(text: str) -> list[str]:
    return [".PP", ".nf", *(roff(line) for line in text.strip("\n").split("\n")), ".fi"]
