"""Configuration: flags over environment over files over defaults, each value with its origin.

Contract: `load` gives a frozen `Settings`; nothing needs to be configured for one tree. Files are
~/.config/btfd/config.yaml ($XDG_CONFIG_HOME), then /etc/btfd/config.yaml; the first that has a key
wins. Environment: BTFD_<KEY>, lists separated by colons. Whatever is not understood is refused with
file, line, key and what was expected; no key is ignored. A file inside a build tree is never read.

Cost: PyYAML is imported only when a file exists.
"""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from btfd import features
from btfd.errors import UsageProblem, from_os
from btfd.kbuild import AUTO, CHOICES, EncoderOptions

SYSTEM_FILE = "/etc/btfd/config.yaml"


class TreeSettings(NamedTuple):
    """One tree that is to be served."""

    root: str
    use: str = ""
    """kbuild, watcher, auto, or empty for the general one."""
    base: str = ""
    """The vmlinux that an external module's directory is built against; empty: the tree's own."""


class Settings(NamedTuple):
    """Every value that can be set."""

    trees: tuple[TreeSettings, ...] = ()
    use: str = AUTO
    """Who makes the BTF of modules, where a tree says nothing else."""
    jobs: int = 0
    """Encoder threads; 0 stands for one a CPU."""
    btf_features: tuple[str, ...] = ()
    """pahole's names; empty: what the tree's kbuild would pass."""
    lang_exclude: tuple[str, ...] = ()
    encode_base: bool = False
    force_base: bool = False
    resolve_btfids: str = ""
    """The program that resolves `.BTF_ids`; empty: the tree's own; `none`: we do."""
    build: str = ""
    """What `btfd on-save --build` runs; `{tree}`, `{modules}`, `{file}`, `{dir}` are filled in."""
    cache: str = ""
    """Index file; empty: the default place; `none`: in memory."""
    origins: Mapping[str, str] = MappingProxyType({})
    """Key to where its value came from."""

    @property
    def threads(self) -> int:
        """`jobs`, counted out."""
        return self.jobs or len(os.sched_getaffinity(0))

    def adjust(self, options: EncoderOptions) -> EncoderOptions:
        """The encoder options of a tree, with what is set here in their place."""
        names, excluded, origin = options.features, options.lang_exclude, options.origin
        if self.btf_features:
            names = features.parse(self.btf_features).on
            origin = self.origins.get("btf_features", "given")
        if self.origins.get("lang_exclude", "default") != "default":
            excluded = self.lang_exclude
        return EncoderOptions(names, excluded, origin)


KINDS = {
    "trees": "a list of absolute paths, or of `root: PATH` with `use` and `base`",
    "use": "auto, kbuild or watcher",
    "jobs": "a number from 0 to 1024",
    "btf_features": "a list of pahole's feature names",
    "lang_exclude": "a list of language names",
    "encode_base": "true or false",
    "force_base": "true or false",
    "resolve_btfids": "a file name, or none",
    "build": "a command",
    "cache": "a file name, or none",
}


def _words(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    return None


def _tree(value: object) -> TreeSettings | None:
    if isinstance(value, dict):
        root, use, base = value.get("root"), value.get("use", ""), value.get("base", "")
        if set(value) - {"root", "use", "base"} or (use and _choice(use) is None):
            return None
    else:
        root, use, base = value, "", ""
    if not isinstance(root, str) or not isinstance(base, str):
        return None
    root, base = os.path.expanduser(root), os.path.expanduser(base)
    if not os.path.isabs(root) or (base and not os.path.isabs(base)):
        return None
    return TreeSettings(root, use, base)


def _trees(value: object) -> tuple[TreeSettings, ...] | None:
    if not isinstance(value, list):
        return None
    found = tuple(tree for item in value if (tree := _tree(item)) is not None)
    return found if len(found) == len(value) else None


def _choice(value: object) -> str | None:
    return value if isinstance(value, str) and value in CHOICES else None


def _number(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= 1024 else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _command(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _text(value: object) -> str | None:
    return os.path.expanduser(value) if isinstance(value, str) and value else None


_CHECKS: dict[str, Callable[[object], Any]] = {
    "trees": _trees,
    "use": _choice,
    "jobs": _number,
    "btf_features": _words,
    "lang_exclude": _words,
    "encode_base": _truth,
    "force_base": _truth,
    "resolve_btfids": _text,
    "build": _command,
    "cache": _text,
}


def files() -> list[str]:
    """Where configuration is looked for, strongest first."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [os.path.join(home, "btfd", "config.yaml"), SYSTEM_FILE]


def load(flags: Mapping[str, Any] | None = None, places: list[str] | None = None) -> Settings:
    """All sources as one. `flags`: values from the command line; None means not given."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(_CHECKS, "default")

    def take(key: str, value: Any, origin: str) -> None:
        if key not in values:
            values[key] = value
            origins[key] = origin

    for key, value in (flags or {}).items():
        if value is not None:
            take(key, value, "command line")
    for key in _CHECKS:
        name = "BTFD_" + key.upper()
        if name in os.environ:
            take(key, _from_environment(key, name), f"environment {name}")
    for path in files() if places is None else places:
        for key, (value, line) in _read(path).items():
            take(key, value, f"{path}:{line}")
    return Settings(**values, origins=origins)


def _from_environment(key: str, name: str) -> Any:
    text = os.environ[name]
    raw: object = text
    if key in ("trees", "btf_features", "lang_exclude"):
        raw = [word for word in text.replace(",", ":").split(":") if word]
    elif key == "jobs":
        raw = int(text) if text.isascii() and text.isdigit() else text
    elif key in ("encode_base", "force_base"):
        raw = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(
            text.lower(), text
        )
    value = _CHECKS[key](raw)
    if value is None:
        raise UsageProblem(f"{text!r} is not {KINDS[key]}", path=name)
    return value


def _read(path: str) -> dict[str, tuple[Any, int]]:
    """The checked values of one file, with their lines; empty where there is no file."""
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as e:
        raise from_os(e, path) from e
    except UnicodeDecodeError as e:
        raise UsageProblem("not UTF-8 text", path=path) from e
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else path
        raise UsageProblem(getattr(e, "problem", None) or "not YAML", path=where) from e
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise UsageProblem("expected `key: value` lines", path=f"{path}:1")
    loader = yaml.SafeLoader("")
    found: dict[str, tuple[Any, int]] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = str(key_node.value)
        if key not in _CHECKS:
            raise UsageProblem(
                f"unknown key `{key}`",
                path=f"{path}:{line}",
                hint="known keys: " + ", ".join(_CHECKS),
            )
        if key in found:
            raise UsageProblem(f"`{key}` appears twice", path=f"{path}:{line}")
        value = _CHECKS[key](loader.construct_object(value_node, deep=True))
        if value is None:
            raise UsageProblem(f"`{key}`: expected {KINDS[key]}", path=f"{path}:{line}")
        found[key] = (value, line)
    return found
