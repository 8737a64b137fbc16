"""`over SCHEDULE … from scratch` of `sparsify`, and the masks that the network has already."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.kinds import EvenRounds
from recipelang.meaning import schedules
from recipelang.meaning.reader import Reader
from recipelang.meaning.wording import listing
from recipelang.plan import Zeros
from recipelang.syntax import nodes


def schedule(reader: Reader, pattern: Any) -> Any | None:
    """`over agp(…)`: a schedule of masks that can move the pieces of the pattern; `over 3 rounds` is one, too."""
    node: Any = reader.argument("over")
    if node is None:
        return None
    if rounds := schedules.rounds(reader, node):
        return EvenRounds(rounds)
    schedule = (
        reader.method(node, "schedule", "`over` of `sparsify`", "over agp") if isinstance(node, nodes.Call) else None
    )
    if schedule is None:
        return None
    schedules.states(reader, node, schedule)
    if "masks" not in schedule.moves:
        every: dict[str, Any] = {name: catalogue.find("schedule", name) for name in catalogue.names("schedule")}
        others = listing([name for name, cls in every.items() if cls and "masks" in cls.moves])
        message = f"`{schedule.name}` decides which parts are removed, and `sparsify` masks weights"
        reader.refuse("RCP0432", message, node.span, f"over {others}, or `prune … over {schedule.name}`")
    piece = getattr(pattern, "piece", "weight")
    if pattern is not None and pattern.target and getattr(schedule, "single", False) and piece != "weight":
        message = f"`{schedule.name}` moves single weights, and the pieces of `{pattern.name}` are {piece}s"
        reader.refuse("RCP0447", message, node.span, "write `sparsify weights to 90%`, or a schedule such as `agp`")
    return schedule


def scratch(reader: Reader) -> bool:
    """`from scratch`: whether the training starts from new random weights."""
    start = reader.argument("from")
    if start is None or reader.word(start, "where training starts", ("scratch",)) is None:
        return False
    if reader.clause("over") is None:
        message = "`from scratch` trains from new random weights while a schedule sets zeros, and there is no schedule"
        help = "add one, `over agp for 10 epochs`, or write `train from scratch for 10 epochs` on a line of its own"
        reader.refuse("RCP0431", message, start.span, help)
    return True


def masks(reader: Reader, mine: Zeros, schedule: Any) -> None:
    """Masks of before and of this statement on the same weights: of a pattern for hardware and of another, or with more
    zeros than a schedule is to end with."""
    if reader.flow.zeros is None:
        return
    (there, place), here = reader.flow.zeros, reader.statement.verb.span
    if not mine.meets(there):
        return
    if there.restriction != mine.restriction and not (there.restriction and mine.restriction):
        message = f"these weights are {there.restriction} ({place.seen_from(here)}), and other zeros leave that pattern"
        if mine.restriction:
            message = f"these weights have other zeros ({place.seen_from(here)}), and {mine.restriction} lets them go"
        help = "use one of the two, give each its own layers with `in` and `except`, or go back with `start from`"
        reader.refuse("RCP0547", message, here, help)
    elif schedule is not None and mine.share is not None and there.share is not None and mine.share < there.share:
        stands, asked = (f"{100 * share:.4g}%" for share in (there.share, mine.share))
        message = f"{stands} of these weights are zero already ({place.seen_from(here)}), and the target is {asked}"
        reader.refuse("RCP0432", message, here, f"write a share of {stands} or more")
