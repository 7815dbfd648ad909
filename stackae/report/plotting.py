"""Figures drawn by matplotlib: SVG for light and for dark paper, each with its alt text."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

INK, FAINT = "#1f2328", "#d1d9e0"
ON_DARK = {INK: "#e6edf3", FAINT: "#3d444d"}
# Told apart by people who see few colours, and legible on light and dark alike.
BLUE, ORANGE, GREEN, PURPLE = "#3b82c4", "#e07b39", "#3a9d6e", "#a45fc2"
CLASS_COLOURS = (
    BLUE, ORANGE, GREEN, "#d1495b", PURPLE, "#8d6e4a", "#e377a8", "#7f8790", "#b5b035", "#35aebf",
)  # fmt: skip

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    # The same figure gives the same bytes.
    "svg.hashsalt": "stackae",
}


@dataclass(frozen=True)
class Figure:
    """A figure: a file name without suffix, what it shows in words, the line under it, and the drawing."""

    name: str
    alt: str
    caption: str
    svg: str
    wide: bool = False

    @property
    def light_uri(self) -> str:
        """The drawing in dark ink, as a data URI."""
        return _uri(self.svg)

    @property
    def dark_uri(self) -> str:
        """The drawing in light ink, as a data URI."""
        svg = self.svg
        for light, dark in ON_DARK.items():
            svg = svg.replace(light, dark)
        return _uri(svg)


def draw(
    name: str,
    paint: Callable[[Canvas], None],
    *,
    alt: str,
    caption: str,
    size: tuple[float, float] = (4.6, 3.0),
    wide: bool = False,
) -> Figure:
    """Let `paint` fill a canvas of `size` inches, and keep it as SVG on no background."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        paint(canvas)
        # Left to savefig, all would be drawn and placed twice.
        engine = canvas.get_layout_engine()
        assert engine is not None
        engine.execute(canvas)
        canvas.set_layout_engine(None)
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    return Figure(name, alt, caption, svg[svg.index("<svg") :], wide)


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
