"""Pieces of HTML for notebooks: tables and a chart, readable on light and dark, everything from outside escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]

Row = tuple[int, Mapping[str, object], str, float, int, float]
"""A trial: number, settings, state, loss, samples, dollars."""

WIDTH: Final = 640
HEIGHT: Final = 260
LEFT: Final = 64
BOTTOM: Final = 36
TOP: Final = 10
RIGHT: Final = 150
TICKS: Final = 4
MOST_ROWS: Final = 20

COLOURS: Final = ("#0072b2", "#d55e00", "#008a65", "#b0609a", "#8a7000", "#3a8fc4")
"""Told apart by the colour-blind, and on white as on black; dashes tell them apart as well."""

DASHES: Final = ("", "6 3", "2 2", "8 3 2 3", "12 4", "4 4")
CELL: Final = "padding:2px 10px 2px 0;text-align:{side}"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart. Those with a ``label`` have a colour and stand in the legend; the others are faint."""

    points: Points
    label: str = ""


def heading(words: str) -> str:
    """A title."""
    return f'<div style="font-weight:600;margin:6px 0 2px">{escape(words)}</div>'


def sentence(words: str) -> str:
    """A line of text."""
    return f"<div>{escape(words)}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; all columns but the first stand to the right."""
    sides = ["left", *["right"] * (len(head) - 1)]
    cells = [
        f'<th scope="col" style="{CELL.format(side=side)}">{escape(name)}</th>'
        for name, side in zip(head, sides, strict=True)
    ]
    body = [
        "<tr>"
        + "".join(
            f'<td style="{CELL.format(side=side)}">{escape(cell)}</td>' for cell, side in zip(row, sides, strict=True)
        )
        + "</tr>"
        for row in rows
    ]
    return f'<table style="border-collapse:collapse"><tr>{"".join(cells)}</tr>{"".join(body)}</table>'


def trials(rows: Iterable[Row]) -> str:
    """The best trials with their settings, ``MOST_ROWS`` at most; empty where there are none."""
    found = sorted(rows, key=lambda row: row[3] if math.isfinite(row[3]) else math.inf)
    shown, more = found[:MOST_ROWS], len(found) - MOST_ROWS
    names = list(dict.fromkeys(name for row in found for name in row[1]))
    cells = [
        (
            str(number),
            *[value(settings.get(name, "")) for name in names],
            state,
            f"{loss:.4f}",
            f"{samples:,}",
            f"{dollars:.4f}",
        )
        for number, settings, state, loss, samples, dollars in shown
    ]
    if not cells:
        return ""
    made = heading("trials") + table(("trial", *names, "state", "log loss", "samples", "dollars"), cells)
    return made + (sentence(f"{more} more") if more > 0 else "")


def value(given: object) -> str:
    """A setting or figure in few characters."""
    return f"{given:,.5g}" if isinstance(given, float) else str(given)


def framed(*parts: str) -> str:
    """Parts as one piece."""
    return f'<div class="cirrus" style="font-variant-numeric:tabular-nums">{"".join(parts)}</div>'


def chart(title: str, across: str, curves: Sequence[Curve]) -> str:
    """Curves as an SVG picture; what is not finite is left out, and what is far above all that have labels is cut off.

    Empty where there is no point. ``across`` names the horizontal axis.
    """
    finite = [
        Curve([point for point in curve.points if all(map(math.isfinite, point))], curve.label) for curve in curves
    ]
    drawn = [curve for curve in finite if curve.points]
    if not drawn:
        return ""
    frame = _Frame.around(
        [curve for curve in drawn if curve.label] or drawn, max(x for one in drawn for x, _ in one.points)
    )
    faint = [_line(frame, curve.points, 'stroke="currentColor" opacity="0.3"') for curve in drawn if not curve.label]
    strong = [_labelled(frame, number, curve) for number, curve in enumerate(curve for curve in drawn if curve.label)]
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="max-width:100%;height:auto" '
        f'font-size="11" fill="currentColor"><title>{escape(title)}</title>'
        f"{frame.axes(across)}{''.join(faint)}{''.join(strong)}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """What part of the plane the picture shows: from 0 to ``right``, from ``low`` to ``high``."""

    right: float
    low: float
    high: float

    @staticmethod
    def around(curves: Sequence[Curve], right: float) -> _Frame:
        values = [y for curve in curves for _, y in curve.points]
        low, high = min(values), max(values)
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return _Frame(right or 1.0, low - room, high + room)

    def place(self, x: float, y: float) -> tuple[float, float]:
        up = (min(y, self.high) - self.low) / (self.high - self.low)
        across = LEFT + x / self.right * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - max(up, 0.0) * (HEIGHT - BOTTOM - TOP)

    def axes(self, across: str) -> str:
        parts = []
        for step in range(TICKS + 1):
            x, y = self.right * step / TICKS, self.low + (self.high - self.low) * step / TICKS
            left, up = self.place(x, y)
            parts += [
                f'<path d="M{LEFT} {up:.1f}H{WIDTH - RIGHT}" stroke="currentColor" opacity="0.15"/>',
                f'<text x="{LEFT - 6}" y="{up + 4:.1f}" text-anchor="end">{y:.4g}</text>',
                f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{_short(x)}</text>',
            ]
        middle = (LEFT + WIDTH - RIGHT) / 2
        return "".join(parts) + f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(across)}</text>'


def _labelled(frame: _Frame, number: int, curve: Curve) -> str:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    style = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
    x, y = frame.place(*curve.points[-1])
    across, up = WIDTH - RIGHT + 12, TOP + 10 + 16 * number
    return (
        f"{_line(frame, curve.points, style)}"
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        f'<line x1="{across}" x2="{across + 18}" y1="{up - 4}" y2="{up - 4}" {style}/>'
        f'<text x="{across + 24}" y="{up}">{escape(curve.label)}</text>'
    )


def _line(frame: _Frame, points: Points, style: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (frame.place(*point) for point in points))
    return f'<polyline fill="none" {style} points="{places}"/>'


def _short(number: float) -> str:
    """A count in few characters, as 1.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
