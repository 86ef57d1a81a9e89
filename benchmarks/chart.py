"""The chart: jobs per second of every peer, as an SVG, without a drawing library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.catalogue import PEERS
from benchmarks.report import Results

OURS = "#d9a400"
OTHERS = "#7a8ca3"
INK = "#333"
PANELS = (
    ("drain", "Jobs per second, one process"),
    ("enqueue", "Enqueued per second, one by one"),
)

#: Pixels: width of a panel, of its names and of its longest bar; height of a line and of the title.
PANEL = 500
NAMES = 170
LONGEST = 250
LINE = 22
TOP = 44


def draw(results: Results) -> str:
    """The SVG; bars are sorted by value."""
    panels = [_bars(results, scenario) for scenario, _ in PANELS]
    height = TOP + LINE * max(len(bars) for bars in panels) + 12
    width = PANEL * len(PANELS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, (bars, (_, title)) in enumerate(zip(panels, PANELS, strict=True)):
        lines += _panel(number * PANEL, title, bars)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bars(results: Results, scenario: str) -> list[tuple[float, str, str]]:
    bars = [
        (value, peer.title, OURS if peer.module == "bananas" else OTHERS)
        for peer in PEERS
        if (value := results.median(scenario, peer.name)) is not None
    ]
    return sorted(bars, reverse=True)


def _panel(left: int, title: str, bars: Sequence[tuple[float, str, str]]) -> Iterator[str]:
    yield f'<text x="{left + NAMES}" y="24" font-weight="bold">{escape(title)}</text>'
    largest = max((value for value, _, _ in bars), default=1.0)
    for number, (value, name, color) in enumerate(bars):
        top = TOP + LINE * number
        length = max(1, round(LONGEST * value / largest))
        text = f'y="{top + 12}"'
        yield f'<text x="{left + NAMES - 8}" {text} text-anchor="end">{escape(name)}</text>'
        bar = f'width="{length}" height="16" fill="{color}"'
        yield f'<rect x="{left + NAMES}" y="{top}" {bar}/>'
        yield f'<text x="{left + NAMES + length + 6}" {text}>{value:,.0f}</text>'
