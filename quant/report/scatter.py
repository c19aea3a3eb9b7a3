"""Points on two axes: accuracy against a cost, so narrow that they fit a phone as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 290
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 14, 40
MARGIN = 0.08
"""Of an axis beyond the outermost points."""
STEPS = (1, 2, 2.5, 5, 10)
Place = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A point.

    Parameters
    ----------
    x, y : float
        In the axes' units.
    tip : str
        What is said of it, lines apart.
    label : str
        Written at it; may be empty.
    below : bool
        Whether the label is below it, not above.
    """

    x: float
    y: float
    tip: str
    label: str = ""
    below: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one kind.

    Parameters
    ----------
    name : str
        In the legend.
    number : int
        From 1: colour and shape.
    dots : sequence of Dot
        In order.
    joined : bool
        Whether a line joins them.
    """

    name: str
    number: int
    dots: Sequence[Dot]
    joined: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line across the picture at a value, with its name.

    Parameters
    ----------
    at : float
        In the axis' unit.
    name : str
        Written at its end.
    upright : bool
        Whether the value is one of x.
    name_left : bool
        At which end the name is; an upright line's is at its foot.
    """

    at: float
    name: str
    upright: bool = False
    name_left: bool = False


@dataclass(frozen=True, kw_only=True)
class PlacedDot:
    """A point in the picture's units."""

    x: float
    y: float
    tip: str
    label: str
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, kw_only=True)
class PlacedSeries:
    """Points of one kind, placed; `path` joins them, if it is not empty."""

    name: str
    number: int
    dots: Sequence[PlacedDot]
    path: str


@dataclass(frozen=True, kw_only=True)
class PlacedLine:
    """A line, placed, and where its name begins or ends."""

    x1: float
    y1: float
    x2: float
    y2: float
    name: str
    name_x: float
    name_y: float
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A place on an axis, with its figure."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class ScatterChart:
    """A picture of points.

    Parameters
    ----------
    title, note : str
        What it shows, what else to know.
    x_name, y_name : str
        Axes with units.
    series : sequence of PlacedSeries
        Points.
    lines : sequence of PlacedLine
        Limits.
    x_ticks, y_ticks : sequence of Tick
        Of the axes.
    """

    title: str
    note: str
    x_name: str
    y_name: str
    series: Sequence[PlacedSeries]
    lines: Sequence[PlacedLine]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM
    kind: str = "scatter"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round values within an interval, not more than so many."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * s for s in STEPS if power * s >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def scatter_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_name: str,
    y_name: str,
    note: str = "",
    lines: Sequence[Line] = (),
) -> ScatterChart:
    """Lay out points.

    Parameters
    ----------
    series : sequence of Series
        At least one point in all.
    title, x_name, y_name, note
        See `ScatterChart`.
    lines : sequence of Line
        Limits; the axes reach them.
    """
    dots = [dot for kind in series for dot in kind.dots]
    across = [dot.x for dot in dots] + [line.at for line in lines if line.upright]
    up = [dot.y for dot in dots] + [line.at for line in lines if not line.upright]
    x0, x1 = _interval(across)
    y0, y1 = _interval(up)

    def px(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    placed = []
    for kind in series:
        spots = [_placed(dot, px(dot.x), py(dot.y)) for dot in kind.dots]
        steps = " L".join(f"{spot.x:.1f} {spot.y:.1f}" for spot in spots)
        path = f"M{steps}" if kind.joined and len(spots) > 1 else ""
        placed.append(PlacedSeries(name=kind.name, number=kind.number, dots=spots, path=path))
    return ScatterChart(
        title=title,
        note=note,
        x_name=x_name,
        y_name=y_name,
        series=placed,
        lines=[_placed_line(line, px, py) for line in lines],
        x_ticks=_ticks(x0, x1, px),
        y_ticks=_ticks(y0, y1, py),
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = MARGIN * (high - low) or abs(high) * MARGIN or 1.0
    return low - room, high + room


def _ticks(low: float, high: float, place: Place) -> list[Tick]:
    found = ticks(low, high)
    step = found[1] - found[0] if len(found) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    return [Tick(at=place(value), text=f"{value:,.{decimals}f}") for value in found]


def _placed(dot: Dot, x: float, y: float) -> PlacedDot:
    room = 3 * len(dot.label)  # half of the label's width
    left, right = x < LEFT + room, x > WIDTH - RIGHT - room
    return PlacedDot(
        x=x,
        y=y,
        tip=dot.tip,
        label=dot.label,
        label_x=x - 5 if left else x + 5 if right else x,
        label_y=y + 17 if dot.below else y - 9,
        anchor="start" if left else "end" if right else "middle",
    )


def _placed_line(line: Line, px: Place, py: Place) -> PlacedLine:
    if line.upright:
        x = px(line.at)
        low = HEIGHT - BOTTOM
        return PlacedLine(
            x1=x, x2=x, y1=TOP, y2=low, name=line.name, name_x=x + 3, name_y=low - 6, anchor="start"
        )
    y, left = py(line.at), line.name_left
    return PlacedLine(
        x1=LEFT,
        x2=WIDTH - RIGHT,
        y1=y,
        y2=y,
        name=line.name,
        name_x=LEFT + 3 if left else WIDTH - RIGHT,
        name_y=y - 4,
        anchor="start" if left else "end",
    )
