"""A matplotlib figure as SVG that fits the page: its colours, no script, no duplicate ids, the same bytes every time.

matplotlib is loaded here and only when a chart is drawn.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
#: colour given to matplotlib, that of the light page → (CSS variable that replaces it, colour of the dark page)
THEME = {
    "#1f2a30": ("--ink", "#e6eaea"),
    "#66727a": ("--muted", "#9aa5aa"),
    "#dfe3e2": ("--line", "#343c40"),
    "#0b7a70": ("--accent", "#45bfb1"),
    "#c2571b": ("--gone", "#f08a4b"),
    "#8a9499": ("--reference", "#7f8b91"),
    "#2f6db3": ("--series-2", "#6fa8e8"),
    "#b1478f": ("--series-3", "#e085c1"),
    "#8a6d00": ("--series-4", "#d4b23f"),
    "#6a51c7": ("--series-5", "#a896f5"),
    "#3f8f3a": ("--series-6", "#7fcf79"),
    "#b83a3b": ("--series-7", "#f08080"),
    "#44818f": ("--series-8", "#7fc0cf"),
}
TIP = "tip:"  # an id that starts so holds the JSON of tips and rows, in ASCII

INK, MUTED, LINE, ACCENT, GONE, REFERENCE = list(THEME)[:6]
SERIES = (ACCENT, *list(THEME)[6:])

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, small, and in the page's own typeface
    "svg.hashsalt": "recipelang",
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that the layout is the same on every machine
    "font.size": 10,
    "text.parse_math": False,  # a `$` in a layer's name is a `$`
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def drawing(width: float, height: float) -> Iterator[Any]:
    """A figure of this size in inches (72 units of the page each) with the report's settings; no backend, no window."""
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # messages about its fonts are not needed
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_SETTINGS}
    settings.pop("backend", None)  # setting it would select a backend
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the layout font lacks: the browser uses another font
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def marked(artist: Any, *points: tuple[str, str]) -> None:
    """Let the elements of an artist say what they are.

    Args:
        artist: a bar, or a line with a marker for each point.
        points: for each, in order, its tip (`data-tip`) and the anchor of the row that it stands for (`data-row`), or
            "" for none.
    """
    artist.set_gid(TIP + json.dumps(points))


def to_svg(figure: Any, name: str, alt: str) -> str:
    """The figure as an `<svg>` element.

    Args:
        figure: drawn under `drawing`.
        name: prefix of all ids inside; different for every figure of a page.
        alt: text for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    # The text is matplotlib's own: it declares no entities that could attack a parser.
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE.*?>", "", buffer.getvalue(), count=1, flags=re.S))
    for parent in list(root.iter()):
        parent.text = parent.text if parent.tag == f"{{{SVG}}}text" else None
        parent.tail = None
        for child in [c for c in parent if c.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)
    for element in root.iter():
        _adapt(element, name)
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-label": alt,
        "class": "chart",
        "style": "stroke-linejoin: round; stroke-linecap: butt",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, name: str) -> None:
    """Unique ids, only on elements that are referred to; the page's colours and typefaces."""
    for key, text in list(element.attrib.items()):
        if key == "id" and text.startswith(TIP):
            del element.attrib[key]
            _say(element, json.loads(text.removeprefix(TIP)))
        elif key == "id" and element.tag not in (f"{{{SVG}}}path", f"{{{SVG}}}clipPath"):
            del element.attrib[key]
        elif key == "id":
            element.set(key, f"{name}-{text}")
        elif key == f"{{{XLINK}}}href":
            element.set(key, text.replace("#", f"#{name}-", 1))
        elif key == "transform":
            element.set(key, text.replace("rotate(-0 ", "rotate(0 "))
        elif "url(#" in text:
            element.set(key, text.replace("url(#", f"url(#{name}-"))
    style = element.get("style")
    if style:
        style = style.replace("'DejaVu Sans Mono'", "var(--mono, monospace)")
        style = style.replace("'DejaVu Sans'", "var(--sans, sans-serif)")
        for colour, (variable, _) in THEME.items():
            style = style.replace(colour, f"var({variable}, {colour})")
        element.set("style", style)


def _say(element: ElementTree.Element, points: list[list[str]]) -> None:
    """Tips for the markers of a line in their order, or for a single shape."""
    shapes = list(element.iter(f"{{{SVG}}}use")) or [element]
    for shape, (tip, row) in zip(shapes, points, strict=True):
        shape.attrib |= {"data-tip": tip} | ({"data-row": row} if row else {})


def palette(dark: bool) -> str:
    """The page's colours as CSS declarations."""
    return "; ".join(f"{variable}: {night if dark else day}" for day, (variable, night) in THEME.items())


def standalone(svg: str) -> str:
    """The same as a separate file that is dark if the reader's page is, and in which tips show without a script."""
    svg = re.sub(r' data-tip="([^"]*)"(?: data-row="[^"]*")? />', r"><title>\1</title></use>", svg)
    svg = re.sub(r' data-tip="([^"]*)"(?: data-row="[^"]*")?>', r"><title>\1</title>", svg)
    style = f"<style>@media (prefers-color-scheme: dark) {{ svg {{ {palette(dark=True)} }} }}</style>"
    head, end, rest = svg.partition(">")
    return f"{head}{end}{style}{rest}\n"
