"""Paths that the user typed in one folder, as a recipe in another folder names them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recipelang.files import expanded
from recipelang.syntax.grammar import scan


@dataclass(frozen=True)
class Moved:
    """An expression with its paths as the recipe names them.

    Attributes:
        text: the expression.
        named: names for the profile → their places on this machine.
    """

    text: str
    named: Mapping[str, str] = field(default_factory=dict)


def moved(text: str, here: Path, folder: Path, *, profile: bool) -> Moved:
    """An expression that was typed in the folder `here`, for a recipe in `folder`.

    A path inside the recipe's folder, code, and a folder of a run start at the recipe's folder. Any other file or
    folder gets a name, and the profile says where it is: a recipe then holds no path of a machine. Text that is not the
    path of something that exists stays.

    Args:
        text: of a model or data.
        profile: whether there is a profile to write names into; without one, every path starts at the recipe's folder.

    Raises:
        Refusal: RCP1214: a path is invalid.
    """
    pieces, named, end = [], dict[str, str](), 0
    for token in scan(text):
        if token.type != "STRING":
            continue
        inside = token.text[1:-1]
        written, colon, function = inside.partition(":") if ".py:" in inside else (inside, "", "")
        place = here / expanded(written)
        if not written or not place.exists():
            continue
        place = place.resolve()
        stays = not profile or place.suffix == ".py" or place.is_relative_to(folder.resolve()) or _of_run(place)
        if stays:
            name = Path(os.path.relpath(place, folder.resolve())).as_posix()
        else:
            name = _free(place.name, str(place), named)
            named[name] = str(place)
        pieces += [text[end : token.start], f'"{name}{colon}{function}"']
        end = token.end
    return Moved("".join([*pieces, text[end:]]), named)


def _of_run(place: Path) -> bool:
    """Whether it is the folder of a network, which no profile names."""
    return (place / "model.json").is_file()


def _free(name: str, place: str, taken: Mapping[str, str]) -> str:
    """A name that stands for no other place."""
    number, found = 2, name
    while taken.get(found, place) != place:
        found, number = f"{name}-{number}", number + 1
    return found
