"""The style and the script of a page, and the policy that lets a browser run this script and load nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from markupsafe import Markup

from recipelang import paths


@cache
def script() -> Markup:
    """The script of the page: our own file, so it is not escaped."""
    return Markup((paths.reports() / "report.js").read_text("utf-8"))


@cache
def style() -> Markup:
    """The style sheet of the page: our own file, so it is not escaped."""
    return Markup((paths.reports() / "report.css").read_text("utf-8"))


def policy() -> str:
    """The content security policy: the script whose hash this is, styles and images inside the page, nothing else.

    Charts carry their colours in `style` attributes, which no hash can allow. A line end is a single character in a
    page, so the hash is that of the text with single characters.
    """
    digest = hashlib.sha256(script().encode()).digest()
    allowed = f"script-src 'sha256-{base64.b64encode(digest).decode()}'"
    return (
        f"default-src 'none'; {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
