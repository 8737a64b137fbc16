"""Where the folders without Python code are: `grammar/`, `reports/` and `recipes/`.

In a wheel they are the data packages `recipelang.grammar` and `recipelang.reports`; in a checkout they are
beside the package. This is the only file that knows.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from recipelang.errors import Refusal


@cache
def folder(name: str) -> Path:
    """The folder of this name: `grammar`, `reports` or `recipes`.

    Raises:
        Refusal: RCP1265: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for place in (package / name, package.parent / name):
        if place.is_dir():
            return place
    help = "install it again: `pip install --force-reinstall recipelang`; in a checkout, `git checkout` brings it back"
    raise Refusal("RCP1265", f"recipelang is installed without its folder `{name}`", help)


def grammar() -> Path:
    """The grammar of the language."""
    return folder("grammar") / "recipe.lark"


def tables() -> Path:
    """The stored parser of that grammar."""
    return folder("grammar") / "tables.json"


def reports() -> Path:
    """The folder of report templates and style sheets."""
    return folder("reports")
