"""Draw a picture into an SVG file: python -m tests.bench.draw FILE, in an environment with matplotlib.

Standard input says which of the two, with what it is given:

    {"curves": {"least": 0.9, "panels": [{"title": …, "counts": […], "lines": {"dict": […], …}}, …]}}
    {"bars": {"title": …, "ours": [names], "rates": {name: …, …}}}

The same figures give the same file.
"""

from __future__ import annotations

import json
import sys
from typing import Any

OURS_COLOUR, COLOUR = "#2b6cb0", "#b8bec6"


def curves(pyplot: Any, panels: list[dict[str, Any]], least: float) -> Any:
    """Return a figure with the panels side by side."""
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(2.6 * len(panels), 2.8), sharey=True, squeeze=False
    )
    for panel, ax in zip(panels, axes[0], strict=True):
        for (title, ratios), mark in zip(panel["lines"].items(), "os^", strict=False):
            ax.plot(panel["counts"], ratios, marker=mark, markersize=4, linewidth=1.2, label=title)
        ax.axhline(1, color="0.7", linewidth=0.8)
        ax.axhline(least, color="0.4", linewidth=0.8, linestyle=":")
        ax.set(title=panel["title"], xscale="log", ylim=(0, 1.3))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("rate, by that with none")
    axes[0][0].legend(loc="lower left", frameon=False)
    return figure


def bars(pyplot: Any, title: str, ours: list[str], rates: dict[str, float]) -> Any:
    """Return a figure with a bar for each rate, the highest on top."""
    names = sorted(rates, key=lambda name: rates[name])
    figure, ax = pyplot.subplots(figsize=(7.2, 0.5 + 0.28 * len(names)))
    colours = [OURS_COLOUR if name in ours else COLOUR for name in names]
    drawn = ax.barh(names, [rates[name] for name in names], color=colours, height=0.7)
    ax.bar_label(drawn, [f"{rates[name]:,.0f}" for name in names], padding=4)
    ax.set(xscale="log", xlim=(min(rates.values()) / 2, max(rates.values()) * 4))
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.tick_params(left=False)
    ax.xaxis.set_visible(False)
    figure.suptitle(title)
    return figure


def main() -> None:
    """Draw what standard input says."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}
    import matplotlib.pyplot as plt

    ((kind, given),) = json.load(sys.stdin).items()
    figure = (curves if kind == "curves" else bars)(plt, **given)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
