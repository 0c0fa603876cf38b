"""Growth as a picture: SVG and PNG, for people. matplotlib comes with the extra `bench`."""

from __future__ import annotations

from pathlib import Path

from bench.growth import Crowd, Point
from bench.measure import CannotMeasure


def growth(points: list[Point], crowds: list[Crowd], target: Path) -> list[Path]:
    """`target`.svg and .png: time over DWARF, CUs and types of a module, and over modules."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        matplotlib.rcParams["svg.hashsalt"] = "btfd"
        from matplotlib import pyplot
    except ImportError:
        raise CannotMeasure("no matplotlib for the plot: pip install '.[bench]'") from None
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 4), layout="constrained")
    times = [point.time.median for point in points]
    for axis, label, values in (
        (axes[0], "DWARF of the module, MB", [p.dwarf / 1e6 for p in points]),
        (axes[1], "CUs of the module", [float(p.units) for p in points]),
        (axes[2], "types without a base", [float(p.types) for p in points]),
    ):
        axis.loglog(values, times, "o", markersize=4)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("warm, ms")
    for threads in sorted({crowd.threads for crowd in crowds}):
        mine = [c for c in crowds if c.threads == threads]
        axes[3].plot(
            [c.modules for c in mine],
            [c.time.median / 1000 for c in mine],
            "o-",
            label=f"{threads} thread" + "s" * (threads > 1),
        )
    axes[3].set_xlabel("modules in one process")
    axes[3].set_ylabel("s")
    axes[3].set_ylim(bottom=0)
    axes[3].set_xlim(left=0)
    axes[3].legend()
    axes[3].grid(alpha=0.3)
    written = []
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
        file = target.with_suffix(suffix)
        figure.savefig(file, metadata=metadata, dpi=110)
        written.append(file)
    pyplot.close(figure)
    return written
