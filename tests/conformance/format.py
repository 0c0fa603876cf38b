"""What a case file means: names of kinds, and what a field is when it is left out.

A type is a JSON object with `id`, `kind`, `name` and what its kind has; `type` is always a type id.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_NUMBERED = (
    *("int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile", "const"),
    *("restrict", "func", "func_proto", "var", "datasec", "float", "decl_tag", "type_tag"),
    "enum64",
)
KINDS = {name: number for number, name in enumerate(_NUMBERED, start=1)}
LINKAGE = ("static", "global", "extern")
ENCODING = {"signed": 1, "char": 2, "bool": 4}

#: Layers of a case that may stand below the one under test, lowest first.
LOWER = ("base", "mid_base")

_OPTIONAL: dict[str, Json] = {
    "int": {"encoding": [], "offset": 0},
    "array": {"size": 0},
    "struct": {"members": []},
    "union": {"members": []},
    "enum": {"size": 4, "values": []},
    "enum64": {"size": 8, "values": []},
    "fwd": {"fwd": "struct", "type": 0},
    "func": {"linkage": "static"},
    "func_proto": {"params": []},
    "var": {"linkage": "static"},
    "datasec": {"vars": []},
    "decl_tag": {"component": -1},
}


def read_cases(paths: Iterable[Path]) -> Iterator[tuple[Path, Json]]:
    """All cases in files and directories, in the order of their names."""
    for path in paths:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            yield file, json.loads(file.read_text(encoding="utf-8"))


def text_of(name: object) -> str:
    """The text of a name that may be given as an exact place in the strings."""
    if isinstance(name, dict):
        return str(name.get("text", name.get("s", "")))
    return str(name or "")


def complete(given: Json, type_id: int) -> Json:
    """The type with every field present and in one form, so that equal types are equal objects."""
    kind = given["kind"]
    full: Json = {"id": type_id, "name": "", **_OPTIONAL.get(kind, {}), **given}
    if full["id"] != type_id:
        raise ValueError(f"type [{full['id']}] stands at id {type_id}")
    full["name"] = text_of(full["name"])
    if kind in ("enum", "enum64"):
        bits = 32 if kind == "enum" else 64
        full["signed"] = bool(full.get("signed"))
        full["values"] = [
            {"name": v["name"], "value": v["value"] % (1 << bits)} for v in full["values"]
        ]
    elif kind != "fwd":
        full["kflag"] = bool(full.get("kflag"))
    if kind == "int":
        full.setdefault("bits", 8 * full["size"])
        full["encoding"] = sorted(full["encoding"])
    elif kind in ("struct", "union"):
        full["members"] = [
            {
                "name": text_of(m.get("name")),
                "type": m["type"],
                "offset": m["offset"],
                "bitfield": m.get("bitfield", 0) if full["kflag"] else 0,
            }
            for m in full["members"]
        ]
    elif kind == "func_proto":
        full["params"] = [
            {"name": text_of(p.get("name")), "type": p["type"]} for p in full["params"]
        ]
    return full


def complete_all(types: Iterable[Json], first: int) -> list[Json]:
    return [complete(t, first + i) for i, t in enumerate(types)]
