"""Types as JSON to bytes of BTF and back, written from the format's description alone.

Shares nothing with the core: a second opinion on what the bytes mean. Little-endian.
"""

import struct
from dataclasses import dataclass
from typing import Any

from .format import ENCODING, KINDS, LINKAGE, Json

MAGIC = 0xEB9F
_KIND_NAMES = {number: name for name, number in KINDS.items()}
#: Bytes after the three header words, and bytes of each of vlen elements, by kind.
_SIZES = {
    "int": (4, 0), "array": (12, 0), "struct": (0, 12), "union": (0, 12), "enum": (0, 8),
    "func_proto": (0, 8), "var": (4, 0), "datasec": (0, 12), "decl_tag": (4, 0), "enum64": (0, 12),
}  # fmt: skip


@dataclass
class Strings:
    """The string sections of all layers, end to end, and where each of them starts."""

    data: bytes = b""
    starts: tuple[int, ...] = ()

    def begin(self, explicit: list[str] | None) -> None:
        """Starts the next layer's section, with exactly these strings if they are given."""
        alone = not self.starts
        self.starts += (len(self.data),)
        texts = ([""] if alone else []) + (explicit or [])
        self.data += b"".join(t.encode() + b"\0" for t in texts)

    def own(self) -> bytes:
        return self.data[self.starts[-1] :]

    def _places(self, text: str, start: int, end: int) -> list[int]:
        """Where strings that are exactly `text` begin."""
        places, at = [], start
        while at < end:
            stop = self.data.index(b"\0", at)
            if self.data[at:stop] == text.encode():
                places.append(at)
            at = stop + 1
        return places

    def offset(self, name: Any, may_grow: bool) -> int:
        """The offset that a name in a case stands for."""
        if isinstance(name, dict):
            if "raw_off" in name:
                return int(name["raw_off"])
            layer = name.get("layer", len(self.starts) - 1)
            ends = (*self.starts[1:], len(self.data))
            places = self._places(name["s"], self.starts[layer], ends[layer])
            return places[name.get("occ", 0)] + int(name.get("skip", 0))
        if not name:
            return 0
        if places := self._places(name, 0, len(self.data)):
            return places[0]
        if not may_grow:
            raise ValueError(f"no string {name!r} in the layers")
        self.data += name.encode() + b"\0"
        return len(self.data) - len(name.encode()) - 1


def _encode_type(t: Json, string: Any) -> bytes:
    kind = t["kind"]
    name, kflag, vlen = string(t.get("name")), bool(t.get("kflag")), 0
    third, rest = t.get("type", 0), []
    match kind:
        case "unknown":
            info = t["kind_value"] << 24 | t["vlen"]
            words = [name, info, t["type"], *t["payload"]]
            return struct.pack(f"<{len(words)}I", *words)
        case "int":
            third = t["size"]
            encoding = sum(ENCODING[e] for e in t.get("encoding", []))
            bits = t.get("bits", 8 * t["size"])
            rest = [encoding << 24 | t.get("offset", 0) << 16 | bits]
        case "float":
            third = t["size"]
        case "array":
            third = t.get("size", 0)
            rest = [t["type"], t["index_type"], t["nelems"]]
        case "struct" | "union":
            third, members = t["size"], t.get("members", [])
            vlen = len(members)
            for m in members:
                width = m.get("bitfield", 0) if kflag else 0
                rest += [string(m.get("name")), m["type"], width << 24 | m["offset"]]
        case "enum" | "enum64":
            wide = kind == "enum64"
            third, kflag = t.get("size", 8 if wide else 4), bool(t.get("signed"))
            values = t.get("values", [])
            vlen = len(values)
            for v in values:
                rest += [string(v["name"]), v["value"] & 0xFFFFFFFF]
                rest += [v["value"] >> 32 & 0xFFFFFFFF] if wide else []
        case "fwd":
            kflag = t.get("fwd", "struct") == "union"
        case "func":
            vlen = LINKAGE.index(t.get("linkage", "static"))
        case "func_proto":
            params = t.get("params", [])
            vlen = len(params)
            for p in params:
                rest += [string(p.get("name")), p["type"]]
        case "var":
            rest = [LINKAGE.index(t.get("linkage", "static"))]
        case "datasec":
            third, entries = t["size"], t.get("vars", [])
            vlen = len(entries)
            for e in entries:
                rest += [e["type"], e["offset"], e["size"]]
        case "decl_tag":
            rest = [t.get("component", -1) & 0xFFFFFFFF]
    info = kflag << 31 | KINDS[kind] << 24 | vlen
    words = [name, info, third, *rest]
    return struct.pack(f"<{len(words)}I", *words)


def _encode_layout(extra: dict[str, list[int]]) -> bytes:
    """Four bytes for every kind up to the last one: sizes and flags."""
    sizes = {0: (0, 0)}
    sizes |= {number: _SIZES.get(name, (0, 0)) for name, number in KINDS.items()}
    sizes |= {int(number): (info, elem) for number, (info, elem) in extra.items()}
    table = (sizes.get(n, (0, 0)) for n in range(max(sizes) + 1))
    return b"".join(struct.pack("<BBH", info, elem, 0) for info, elem in table)


def encode(
    types: list[Json],
    strings: Strings,
    explicit: list[str] | None = None,
    layout: dict[str, list[int]] | None = None,
) -> bytes:
    """One layer on top of those whose strings are in `strings`, which takes its own up."""
    strings.begin(explicit)
    grow = explicit is None
    body = b"".join(_encode_type(t, lambda n: strings.offset(n, grow)) for t in types)
    table = _encode_layout(layout) if layout else b""
    own = strings.own()
    at = len(body) + len(table)
    header_len = 32 if table else 24
    header = struct.pack("<HBBIIIII", MAGIC, 1, 0, header_len, 0, len(body), at, len(own))
    if table:
        header += struct.pack("<II", len(body), len(table))
    return header + body + table + own


def _decode_type(at: int, data: bytes, type_id: int, text: Any) -> tuple[Json, int]:
    name, info, third = struct.unpack_from("<3I", data, at)
    kind, kflag, vlen = _KIND_NAMES[info >> 24 & 0x7F], bool(info >> 31), info & 0xFFFFFF
    fixed, each = _SIZES.get(kind, (0, 0))
    end = at + 12 + fixed + each * vlen
    words = struct.unpack_from(f"<{(end - at - 12) // 4}I", data, at + 12)
    rows = [words[i : i + each // 4] for i in range(0, len(words), each // 4)] if each else []
    t: Json = {"id": type_id, "kind": kind, "name": text(name), "kflag": kflag}
    match kind:
        case "int":
            encoding = [e for e, bit in ENCODING.items() if words[0] >> 24 & bit]
            t |= {"size": third, "encoding": encoding}
            t |= {"offset": words[0] >> 16 & 0xFF, "bits": words[0] & 0xFF}
        case "float":
            t["size"] = third
        case "array":
            t |= {"size": third, "type": words[0], "index_type": words[1], "nelems": words[2]}
        case "struct" | "union":
            mask = 0xFFFFFF if kflag else 0xFFFFFFFF
            t["size"] = third
            t["members"] = [
                {"name": text(n), "type": i, "offset": o & mask, "bitfield": o >> 24}
                for n, i, o in rows
            ]
        case "enum" | "enum64":
            del t["kflag"]
            t |= {"size": third, "signed": kflag}
            t["values"] = [
                {"name": text(n), "value": low | sum(high) << 32} for n, low, *high in rows
            ]
        case "fwd":
            del t["kflag"]
            t |= {"type": third, "fwd": "union" if kflag else "struct"}
        case "func":
            t |= {"type": third, "linkage": LINKAGE[vlen]}
        case "func_proto":
            t |= {"type": third, "params": [{"name": text(n), "type": i} for n, i in rows]}
        case "var":
            t |= {"type": third, "linkage": LINKAGE[words[0]]}
        case "datasec":
            t |= {"size": third}
            t["vars"] = [{"type": i, "offset": o, "size": s} for i, o, s in rows]
        case "decl_tag":
            t |= {"type": third, "component": words[0] - (words[0] >> 31 << 32)}
        case _:
            t["type"] = third
    return t, end


@dataclass(frozen=True)
class Decoded:
    """One layer, read back."""

    types: list[Json]
    #: Its own strings, without the empty one that a stand-alone layer begins with.
    strings: list[str]


def section(btf: bytes, which: int) -> bytes:
    """The type section (0) or the string section (1) of a layer."""
    header_len, *places = struct.unpack_from("<5I", btf, 4)
    start = header_len + places[2 * which]
    return btf[start : start + places[2 * which + 1]]


def decode(btf: bytes, first_id: int, lower_strings: bytes) -> Decoded:
    """Reads a layer whose first type has this id, on top of layers with these strings."""
    own = section(btf, 1)
    all_strings = lower_strings + own

    def text(offset: int) -> str:
        return all_strings[offset : all_strings.index(b"\0", offset)].decode()

    body, at = section(btf, 0), 0
    types: list[Json] = []
    while at < len(body):
        decoded, at = _decode_type(at, body, first_id + len(types), text)
        types.append(decoded)
    texts = [t.decode() for t in own.split(b"\0")[:-1]]
    return Decoded(types, texts if lower_strings else texts[1:])
