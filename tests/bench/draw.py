"""Draw curves into an SVG file: python -m tests.bench.draw FILE, in an environment with matplotlib.

Standard input has {"least": 0.9, "panels": [{"title": …, "counts": […], "lines": {"dict": […], …}}, …]}.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def draw(panels: list[dict[str, Any]], least: float, path: str) -> None:
    """Draw the panels side by side; the same figures give the same file."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.8), sharey=True, squeeze=False)
    for panel, ax in zip(panels, axes[0], strict=True):
        for (title, ratios), mark in zip(panel["lines"].items(), "os^", strict=False):
            ax.plot(panel["counts"], ratios, marker=mark, markersize=4, linewidth=1.2, label=title)
        ax.axhline(1, color="0.7", linewidth=0.8)
        ax.axhline(least, color="0.4", linewidth=0.8, linestyle=":")
        ax.set(title=panel["title"], xscale="log", ylim=(0, 1.3))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("rate, by that with none")
    axes[0][0].legend(loc="lower left", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    given = json.load(sys.stdin)
    draw(given["panels"], given["least"], sys.argv[1])
