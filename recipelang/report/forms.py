"""The forms of a report by their names."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.errors import Refusal, nearest

#: short names, as the command line takes them
SHORT = {"md": "markdown", "tex": "latex", "model-card": "model_card", "card": "model_card"}


def form_of(name: str) -> type:
    """The card of a form: `markdown` (or `md`), `html`, `csv`.

    Raises:
        Refusal: RCP1105: there is no such form.
    """
    card = catalogue.find("report", SHORT.get(name, name))
    if card is None:
        known = catalogue.names("report")
        like = nearest(name, known)
        help = f"did you mean `{like}`?" if like else f"the forms are {', '.join(f'`{k}`' for k in known)}"
        raise Refusal("RCP1105", f"there is no report form `{name}`", help)
    return card


def made(form: Any) -> Any:
    """A form with its settings: itself, or by its name with the default ones.

    Raises:
        Refusal: RCP1105: there is no such form.
    """
    return form_of(form)() if isinstance(form, str) else form
