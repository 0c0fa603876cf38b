"""The sizes of a tree as one HTML file: no script, no other file, the plot as inline SVG.

Contract: the same sizes give the same bytes. Names of files are text to the page, whatever is in
them.
"""

import html
import math
from collections.abc import Callable, Sequence

from btfd.sizes import Module, Total

WIDTH, HEIGHT = 960, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 40

_STYLE = """
:root { color-scheme: light dark; --full: #8a8f98; --split: #1f77b4; --grid: #8884; }
@media (prefers-color-scheme: dark) { :root { --split: #5fb0ea; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
td:not(:first-child) { white-space: nowrap; }
.total td { font-weight: bold; border-top: 2px solid var(--grid); }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
.grid { stroke: var(--grid); }
.full { fill: var(--full); } .split { fill: var(--split); fill-opacity: .8; }
"""


def size(count: float) -> str:
    """Bytes for people: 812 B, 5.2 kB, 115.7 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB"


def render(
    tree: str,
    release: str | None,
    base_size: int,
    modules: Sequence[Module],
    top: Sequence[Module],
    total: Total,
) -> str:
    """The page. `modules`: all; `top`: those of the table."""
    title = f"BTF of {total.modules} modules" + (f", Linux {release}" if release else "")
    rows = [_row(m.path, m.full, m.split) for m in top]
    rows.append(_row(f"all {total.modules} modules", total.full, total.split, kind="total"))
    left_out = f" Left out, having none: {total.failed}." if total.failed else ""
    good = [m for m in modules if m.reason is None]
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<h1>{html.escape(title)}</h1>
<p><code>{html.escape(tree)}</code>. Without a base each module carries all types that it uses:
<b>{size(total.full)}</b>. Over the base BTF of vmlinux ({size(base_size)}) only its own remain:
<b>{size(total.split)}</b>, {total.saved:.1%} less.{left_out}</p>
{_plot(good)}
<h2>The largest</h2>
<table>
<tr><th>module<th>full BTF<th>split BTF<th>saved
{"".join(rows)}</table>
</html>
"""


def _row(name: str, full: int, split: int, kind: str = "") -> str:
    saved = f"{1 - split / full:.1%}" if full else ""
    row = f'<tr class="{kind}">' if kind else "<tr>"
    return f"{row}<td>{html.escape(name)}<td>{size(full)}<td>{size(split)}<td>{saved}\n"


def _plot(modules: Sequence[Module]) -> str:
    """Every module, in the order of its full size: two dots, on a scale of powers of ten."""
    if not modules:
        return ""
    ordered = sorted(modules, key=lambda m: (m.full, m.split, m.path))
    sizes = [max(1, s) for m in ordered for s in (m.full, m.split)]
    # A little more than what is there, and at least one line.
    low = math.log10(min(sizes)) - 0.15
    high = max(math.log10(max(sizes)) + 0.15, math.ceil(low))
    step = (WIDTH - LEFT - RIGHT) / len(ordered)

    def y(count: float) -> float:
        part = (math.log10(max(1.0, count)) - low) / (high - low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    lines = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = y(10**power)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_power(power)}</text>'
        )
    radius = max(1.8, min(4.0, step / 2))
    for index, m in enumerate(ordered):
        x = LEFT + (index + 0.5) * step
        name = html.escape(f"{m.path}: {size(m.full)} full, {size(m.split)} split")
        lines.append(f"<g><title>{name}</title>{_dots(x, y, radius, m)}</g>")
    bottom = HEIGHT - 12
    lines.append(
        f'<text x="{LEFT}" y="{bottom}">each module, in the order of its full BTF</text>'
        f'<circle class="full" cx="{WIDTH - 260}" cy="{bottom - 4}" r="5"/>'
        f'<text x="{WIDTH - 250}" y="{bottom}">full BTF</text>'
        f'<circle class="split" cx="{WIDTH - 174}" cy="{bottom - 4}" r="5"/>'
        f'<text x="{WIDTH - 164}" y="{bottom}">split BTF over vmlinux</text>'
    )
    label = "Size of the BTF of every module, with and without a base"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">\n'
        + "\n".join(lines)
        + "\n</svg>"
    )


def _power(power: int) -> str:
    """A power of ten of bytes, as a label: 10 kB."""
    unit = min(power // 3, 2)
    return f"{10 ** (power - 3 * unit)} {('B', 'kB', 'MB')[unit]}"


def _dots(x: float, y: Callable[[float], float], radius: float, module: Module) -> str:
    return "".join(
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y(count):.1f}" r="{radius:.1f}"/>'
        for kind, count in (("full", module.full), ("split", module.split))
    )
