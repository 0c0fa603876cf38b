"""How layouts are said in an editor: hovers in Markdown, hints of a few characters, titles.

Contract: plain strings of facts that somebody else found out. Sizes and offsets are bytes, with the
bit behind a colon where a bitfield has one. Cache lines are of 64 bytes, counted from 0.
"""

from btfd.built import Difference, Laid, Placed, Sizes
from btfd.cli import changes

#: Lines of a struct in a hover; nobody reads on in a small window.
LINES = 60


def struct(laid: Laid) -> str:
    """A hover over a struct's name."""
    lines = laid.text.rstrip("\n").splitlines()
    head = lines[0].removesuffix(" {")
    body = lines
    if len(lines) > LINES:
        # The summary at the end matters more than the middle.
        end = next((i for i in range(len(lines) - 1, 0, -1) if not lines[i]), len(lines) - 1)
        cut = LINES - (len(lines) - end)
        body = [*lines[:cut], f"\t/* {end - cut} more lines */", *lines[end:]]
    facts = f"{laid.size} bytes, {_count(-(-laid.size // 64), 'cache line')}"
    text = "\n".join(body)
    return f"**{head}**: {facts}, as last built in {laid.where}\n\n```c\n{text}\n```"


def member(placed: Placed) -> str:
    """A hover over a member's name."""
    row = placed.row
    what = str(row.get("type") or f"{{ ... }} {row.get('close', '')}")
    first, last = placed.lines
    line = f"cache line {first}" if first == last else f"cache lines {first} to {last}"
    facts = [f"offset {at(placed.offset)}", size(placed.bits), line]
    if placed.hole:
        facts.append(f"then a hole of {size(placed.hole)}")
    head = placed.laid.text.partition(" {")[0]
    of = f"in **{head}** of {placed.laid.size} bytes, as last built in {placed.laid.where}"
    return f"```c\n{what};\n```\n{', '.join(facts)}; {of}"


def hint(placed: Placed, *, named: bool) -> str:
    """What stands behind a member: `@8 16 B`, and what follows where that is a hole."""
    whole, odd = divmod(placed.bits, 8)
    text = f"@{at(placed.offset)} " + (f"{placed.bits} bits" if odd else f"{whole} B")
    first, last = placed.lines
    # Where a line begins, and where one member lies on both sides of it.
    if first and (placed.offset % 512 == 0 or first != last):
        text += f", line {first}" if first == last else f", lines {first}-{last}"
    elif first != last:
        text += f", lines {first}-{last}"
    if placed.hole:
        text += f", hole {size(placed.hole, short=True)}"
    return f"{placed.row['name']} {text}" if named else text


def lens(sizes: Sizes) -> str:
    """The line above a file, for one of its modules."""
    types = "" if sizes.types is None else f"{_count(sizes.types, 'type')}, "
    full = "" if sizes.full is None else f" of {sizes.full:,}"
    return f"{sizes.module}: {types}{sizes.split:,}{full} bytes of BTF"


def difference(one: Difference) -> str:
    """A struct that a reference has otherwise."""
    said = "; ".join(changes.saying(one.change))
    return f"{changes.headline(one.change)}: {said} (against {one.reference})"


def at(bits: int) -> str:
    """An offset: bytes, and the bit in the last one."""
    whole, odd = divmod(bits, 8)
    return f"{whole}:{odd}" if odd else str(whole)


def size(bits: int, *, short: bool = False) -> str:
    """A size in words."""
    if bits % 8:
        return _count(bits, "bit")
    return f"{bits // 8} B" if short else _count(bits // 8, "byte")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")
