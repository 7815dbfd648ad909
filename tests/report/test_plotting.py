"""Figures as SVG."""

from __future__ import annotations

import re
from typing import Any

from stackae.report.plotting import draw


def left_edge(label: str) -> float:
    """Where the axes of a figure with this label beside them begin, in points."""

    def paint(canvas: Any) -> None:
        canvas.subplots().barh([label], [1.0])

    svg = draw("bars", paint, alt="bars", caption="bars").svg
    found = re.search(r'id="patch_2">\s*<path d="M ([\d.]+)', svg)
    assert found
    return float(found[1])


def test_a_figure_makes_room_for_its_labels() -> None:
    assert left_edge("a class with a rather long name") > left_edge("no") + 80
