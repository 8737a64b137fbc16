"""What installed packages add: entry points of the group `recipelang.methods`, named `KIND.NAME`.

A file of the project and an entry point are found in the same way: the name in the recipe is the name of the file, or
what follows the dot. An installed plug-in is trusted, a recipe is not. Entry points are read only where a name is not
the project's own, since reading them costs more than checking a recipe.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "recipelang.methods"
#: kinds that are no methods of the catalogue: a verb is two entry points of one name, as it is two files
ROOMS = ("verb", "stage")


@cache
def declared() -> dict[tuple[str, str], EntryPoint]:
    """The entry points of all installed packages, by kind and name.

    Raises:
        ValueError: two packages add the same name, or an entry point has no kind.
    """
    from importlib.metadata import entry_points

    found: dict[tuple[str, str], EntryPoint] = {}
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        if not name:
            raise ValueError(f"plugin {point.value}: entry point `{point.name}` is not `kind.name`")
        if (kind, name) in found:
            raise ValueError(f"plugin {point.value}: there is already a {kind} `{name}`")
        found[kind, name] = point
    return found


def names(kind: str) -> set[str]:
    """The names that plug-ins add to a kind; imports none of them."""
    return {name for of, name in declared() if of == kind}


def load(kind: str, name: str) -> Any | None:
    """What an entry point names; None where there is none.

    Raises:
        ImportError, AttributeError: it is broken; this is never hidden.
    """
    point = declared().get((kind, name))
    return point.load() if point else None
