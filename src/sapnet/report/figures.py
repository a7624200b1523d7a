"""Charts as inline SVG: line charts of what happened in training, bars of what it led to.

Colours come from the page's style sheet (``--series-1`` and so on), so that they follow the light or
dark setting of the reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sapnet.report.markup import Markup, join, tag

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 380.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 12.0, 34.0
_MAX_POINTS = 400


def line_chart(title: str, series: Mapping[str, Points], *, x_label: str = "step") -> Markup:
    """Draw one line per series over a common x axis.

    Args:
        title: Heading of the chart.
        series: Name to (x, y) points in rising x; points that are not finite are left out.
        x_label: What x is.

    Returns:
        A figure with a legend where there are several series; a sentence where there is no point.
    """
    clean = {name: _finite(points) for name, points in series.items()}
    clean = {name: points for name, points in clean.items() if points}
    if not clean:
        return tag("figure", tag("figcaption", title), tag("p", "No values were recorded.", class_="note"))
    xs = [x for points in clean.values() for x, _ in points]
    ys = [y for points in clean.values() for _, y in points]
    x_ticks, y_ticks = nice_ticks(min(xs), max(xs), 5), nice_ticks(min(0.0, *ys), max(ys), 4)
    x_span, y_span = _span(min(xs), max(xs)), _span(y_ticks[0], max(y_ticks[-1], *ys))
    parts = [*_grid(x_ticks, y_ticks, x_span, y_span), _axis_name(x_label)]
    for number, points in enumerate(clean.values(), 1):
        parts.append(_line(points, x_span, y_span, number))
    words = "; ".join(
        f"{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}" for name, points in clean.items()
    )
    drawing = _svg(parts, f"{title}: {words}")
    legend = _legend(list(clean)) if len(clean) > 1 else None
    return tag("figure", tag("figcaption", title), drawing, legend)


def bar_chart(
    title: str,
    bars: Sequence[tuple[str, float | None, str]],
    *,
    largest: float = 1.0,
    distinct: bool = True,
) -> Markup:
    """Draw horizontal bars, each with its name and figure.

    Args:
        title: Heading of the chart.
        bars: (name, length or None, figure as text), one per bar.
        largest: Length of a full bar.
        distinct: Give the first four bars colours of their own.
    """
    row, name_width, bar_width = 30.0, 170.0, 360.0
    parts: list[Markup] = []
    for index, (name, value, figure) in enumerate(bars):
        y = index * row + 6
        length = 0.0 if value is None else bar_width * min(max(value / largest, 0.0), 1.0)
        parts += [
            tag("text", name, x=name_width - 8, y=y + 14, text_anchor="end", class_="label"),
            tag("rect", x=name_width, y=y, width=bar_width, height=20, rx=3, class_="track"),
            tag(
                "rect",
                x=name_width,
                y=y,
                width=f"{length:.1f}",
                height=20,
                rx=3,
                class_=f"bar bar-{index + 1}" if distinct else "bar",
            ),
            tag("text", figure, x=name_width + bar_width + 8, y=y + 14, class_="figure"),
        ]
    words = "; ".join(f"{name} {figure}" for name, _, figure in bars)
    height = len(bars) * row + 6
    drawing = tag(
        "svg",
        tag("title", f"{title}: {words}"),
        *parts,
        viewBox=f"0 0 {name_width + bar_width + 70:.0f} {height:.0f}",
        role="img",
        aria_label=f"{title}: {words}",
    )
    return tag("figure", tag("figcaption", title), drawing, class_="bars")


def nice_ticks(low: float, high: float, number: int) -> list[float]:
    """Return about ``number`` round values from at most ``low`` to about ``high``."""
    if not high > low:
        return [low]
    raw = (high - low) / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= raw * 0.999), 10 * power)
    first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9)
    return [step * index for index in range(first, last + 1)]


def thin_out(points: Points, most: int = _MAX_POINTS) -> list[tuple[float, float]]:
    """Return at most about ``most`` points, each the mean of a run of neighbours."""
    run = math.ceil(len(points) / most) if points else 1
    groups = [points[start : start + run] for start in range(0, len(points), run)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _finite(points: Points) -> list[tuple[float, float]]:
    return thin_out([(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)])


def _span(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _x(value: float, span: tuple[float, float]) -> float:
    return _LEFT + (value - span[0]) / (span[1] - span[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, span: tuple[float, float]) -> float:
    return _HEIGHT - _BOTTOM - (value - span[0]) / (span[1] - span[0]) * (_HEIGHT - _TOP - _BOTTOM)


def _grid(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_span: tuple[float, float],
    y_span: tuple[float, float],
) -> list[Markup]:
    parts: list[Markup] = []
    for value in y_ticks:
        y = _y(value, y_span)
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        parts.append(
            tag("text", f"{value:.4g}", x=_LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end", class_="tick")
        )
    for value in x_ticks:
        x = _x(value, x_span)
        if x >= _LEFT - 1:
            base = _HEIGHT - _BOTTOM + 14
            parts.append(
                tag("text", f"{value:.6g}", x=f"{x:.1f}", y=base, text_anchor="middle", class_="tick")
            )
    return parts


def _axis_name(name: str) -> Markup:
    return tag("text", name, x=_WIDTH - _RIGHT, y=_HEIGHT - 5, text_anchor="end", class_="tick")


def _line(points: Points, x_span: tuple[float, float], y_span: tuple[float, float], number: int) -> Markup:
    places = [(_x(x, x_span), _y(y, y_span)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [tag("polyline", points=path, class_=f"series series-{number}")]
    if len(places) <= 30:
        parts += [
            tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.5, class_=f"dot dot-{number}") for x, y in places
        ]
    return join(parts)


def _svg(parts: Sequence[Markup], words: str) -> Markup:
    box = f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}"
    return tag("svg", tag("title", words), *parts, viewBox=box, role="img", aria_label=words)


def _legend(names: Sequence[str]) -> Markup:
    items = [
        tag("li", tag("span", "", class_=f"key key-{number}", aria_hidden="true"), name)
        for number, name in enumerate(names, 1)
    ]
    return tag("ul", *items, class_="legend")
