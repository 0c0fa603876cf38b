"""Shows every value of the configuration, and where it comes from.

The origin is `default`, `environment BTFD_KEY`, or file and line. --json: one object a key.
"""

import argparse
from dataclasses import asdict, fields
from typing import Any

from btfd import config
from btfd.cli.output import Output
from btfd.config import TreeSettings
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load({})
    for field in fields(settings):
        if field.name not in settings.origins:
            continue
        value = plain(getattr(settings, field.name))
        origin = settings.origins[field.name]
        out.object({"key": field.name, "value": value, "origin": origin})
        out.line(f"{field.name}: {text(value)}  {out.paint(f'({origin})', 'dim')}")
    return 0


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, TreeSettings):
        given = {key: text for key, text in asdict(value).items() if text}
        return given if len(given) > 1 else value.root
    return value


def text(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {text(v)}" for k, v in value.items()) + "}"
    return str(value) if value != "" else "''"
