"""Horizontal bars, one row a layer or part, drawn so narrow that they fit a phone as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 360
ROW = 22
BAR = 14
CHARACTER = 5.9
"""Mean width of a character at the font's size, generous."""
LABEL_MOST = 165
GAP = 1.5
"""Between the segments of a bar, so that colours need not tell them apart."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a bar.

    Parameters
    ----------
    value : float
        Its length, not negative.
    series : int
        From 1: its colour.
    tip : str
        What is said of it, lines apart.
    """

    value: float
    series: int
    tip: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row.

    Parameters
    ----------
    label : str
        Its name.
    segments : sequence of Segment
        From left to right; none where the figure is missing.
    shown : str
        The figure at its end.
    """

    label: str
    segments: Sequence[Segment]
    shown: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A rectangle with its text, in the picture's units."""

    x: float
    y: float
    width: float
    height: float
    series: int
    tip: str


@dataclass(frozen=True, kw_only=True)
class Text:
    """A piece of text in the picture."""

    x: float
    y: float
    text: str
    full: str


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """A picture of bars.

    Parameters
    ----------
    title : str
        With the unit.
    note : str
        What else to know; may be empty.
    series : sequence of str
        Legend, by colour; empty for one colour.
    height : float
        Of the picture.
    marks, labels, figures : sequence
        What is drawn.
    axis : float
        Where the bars begin.
    """

    title: str
    note: str
    series: Sequence[str]
    height: float
    marks: Sequence[Mark]
    labels: Sequence[Text]
    figures: Sequence[Text]
    axis: float
    width: float = WIDTH
    kind: str = "bars"


def bar_chart(
    bars: Sequence[Bar],
    *,
    title: str,
    note: str = "",
    series: Sequence[str] = (),
    most: float | None = None,
) -> BarChart:
    """Lay out bars.

    Parameters
    ----------
    bars : sequence of Bar
        From top to bottom.
    title, note, series
        See `BarChart`.
    most : float, optional
        Length of the whole axis; else that of the longest bar. For charts that are compared.
    """
    longest = max((len(bar.label) for bar in bars), default=0)
    axis = min(LABEL_MOST, CHARACTER * longest) + 8
    end = WIDTH - CHARACTER * max((len(bar.shown) for bar in bars), default=0) - 8
    totals = [sum(segment.value for segment in bar.segments) for bar in bars]
    scale = (end - axis) / (most or max(totals, default=0.0) or 1.0)
    marks, labels, figures = [], [], []
    for index, bar in enumerate(bars):
        top = index * ROW + (ROW - BAR) / 2
        x = axis
        for segment in bar.segments:
            length = segment.value * scale
            if length > 0:
                width = max(length - GAP, 0.75)
                mark = Mark(
                    x=x, y=top, width=width, height=BAR, series=segment.series, tip=segment.tip
                )
                marks.append(mark)
            x += length
        baseline = index * ROW + ROW / 2 + 4
        labels.append(Text(x=axis - 6, y=baseline, text=_cut(bar.label), full=bar.label))
        figures.append(Text(x=x + 4, y=baseline, text=bar.shown, full=bar.shown))
    return BarChart(
        title=title,
        note=note,
        series=series,
        height=ROW * len(bars),
        marks=marks,
        labels=labels,
        figures=figures,
        axis=axis,
    )


def _cut(label: str) -> str:
    """Shorten a label in the middle, where names of layers differ least."""
    most = int(LABEL_MOST / CHARACTER)
    if len(label) <= most:
        return label
    half = (most - 1) // 2
    return f"{label[:half]}…{label[-(most - 1 - half) :]}"
