"""A draft as text: the recipe with its comments, formatted, and the profile that says where its files are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from recipelang.drafting.rules import Draft, Line
from recipelang.run.planlines import duration
from recipelang.syntax.format import format

WIDTH = 100


def recipe_text(draft: Draft, name: str, seconds: Sequence[float | None] = ()) -> str:
    """The recipe.

    Args:
        draft: what it does.
        name: of its file, for the commands at its head.
        seconds: of each line of the draft, as planned; None, or none at all, where it is not known.
    """
    parts = [
        f"# A first recipe: what is done to the network, step by step, and why.\n"
        f"#   recipe plan {name}      what would be done\n"
        f"#   recipe run {name}       do it and write a report; `--smoke` tries each step on a few batches",
        "\n".join(_comment(sentence) for sentence in draft.head),
    ]
    times = [*seconds, *[None] * (len(draft.lines) - len(seconds))]
    parts += _blocks([_line(line, time) for line, time in zip(draft.lines, times, strict=True)])
    parts += ["\n".join(_comment(sentence) for sentence in draft.end)] if draft.end else []
    return format("\n\n".join(parts) + "\n", name)


def _line(line: Line, seconds: float | None) -> str:
    why = list(line.why)
    if seconds is not None:
        why.append(f"about {duration(seconds)} on this machine")
    return "\n".join([*(_comment(f"{sentence[0].upper()}{sentence[1:]}") for sentence in why), line.text])


def _blocks(lines: Sequence[str]) -> list[str]:
    """Lines without a comment follow the one before directly; the others are set apart."""
    blocks: list[str] = []
    for line in lines:
        if blocks and not line.startswith("#"):
            blocks[-1] += f"\n{line}"
        else:
            blocks.append(line)
    return blocks


def _comment(sentence: str) -> str:
    lines = textwrap.wrap(sentence, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def profile_text(data: Mapping[str, str], weights: Mapping[str, str], device: str) -> str:
    """The `recipe.yaml` beside it; "" where nothing needs one.

    Args:
        data, weights: name in the recipe → place.
        device: that trains.
    """
    parts = []
    for key, places, what in (("data", data, "data"), ("weights", weights, "weights")):
        if places:
            rows = "".join(f"  {_quoted(name)}: {_quoted(place)}\n" for name, place in places.items())
            parts.append(f"{key}:  # {what}, by the name that the recipe uses\n{rows}")
    if device != "cpu":
        parts.append(f"device: {device}  # for training\n")
    if not parts:
        return ""
    return "# Where things are on this machine. A recipe says what is done, this file says where.\n\n" + "".join(parts)


def _quoted(text: str) -> str:
    """A text of YAML between double quotes, which JSON's are."""
    import json

    return json.dumps(text, ensure_ascii=False)
