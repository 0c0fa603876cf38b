"""Shows every value of the configuration, and where it comes from.

The origin is `default`, `environment BTFD_KEY`, or file and line. --json: one object a key.
"""

import argparse
from typing import Any

from btfd import config
from btfd.cli.output import Output
from btfd.config import TreeSettings
from btfd.engine import Core


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, out: Output, core: Core | None = None) -> int:
    settings = config.load({})
    for key in settings._fields:
        if key not in settings.origins:
            continue
        value = plain(getattr(settings, key))
        origin = settings.origins[key]
        out.object({"key": key, "value": value, "origin": origin})
        out.line(f"{key}: {text(value)}  {out.paint(f'({origin})', 'dim')}")
    return 0


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, TreeSettings):
        given = {key: text for key, text in value._asdict().items() if text}
        return given if len(given) > 1 else value.root
    if isinstance(value, tuple):
        return [plain(item) for item in value]
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
