"""The clause `on`: which data, of which split, and how much of it; and the clause `for`: how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.errors import did_you_mean
from recipelang.meaning import trees
from recipelang.meaning.wording import listing
from recipelang.plan import Duration, Samples
from recipelang.syntax import nodes
from recipelang.syntax.show import show

SPLITS = ("train", "val", "test")

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader


def samples(reader: Reader, default: Samples | None = None, *, trains: bool = False) -> Samples | None:
    """The clause `on`, for statements that look at data while they work; the test split is refused (RCP0513)."""
    node = reader.argument("on")
    if node is None:
        return default
    found = place(reader, node, "val", partly=True)
    if found and found.split == "test":
        help = "`on train` or `on val`; the test split is for `expect` and the report"
        reader.refuse(
            "RCP0513", f"`{reader.verb}` on the test split makes every result on it worthless", node.span, help
        )
        return None
    if found and trains and found.split != "train":
        reader.refuse(
            "RCP0513",
            f"`{reader.verb}` trains on the training split only",
            node.span,
            "write `on train`, or leave it out",
        )
        return None
    return found


def place(reader: Reader, node: Any, split: str, *, partly: bool = False) -> Samples | None:
    """One item of `on`: `val`, `train(samples=512)`, `set5`.

    Args:
        reader: the statement.
        node: the item.
        split: what the bare name of a data set stands for.
        partly: whether a number of samples may be named; metrics read whole splits.
    """
    name = node.path[0].text if isinstance(node, nodes.Call) and len(node.path) == 1 else None
    if name is None or (name not in SPLITS and not reader.flow.is_data(name)):
        sets = reader.flow.named("data")
        shown = f"there is no split or data set `{name}`" if name else "`on` takes a split or a data set"
        guess = did_you_mean(name or "", (*SPLITS, *sets))
        reader.refuse("RCP0209", shown, node.span, f"{guess}one of {listing((*SPLITS, *sets))}")
        return None
    reader.use(name, node.path[0].span)
    if node.arguments and not partly:
        reader.refuse("RCP0405", f"`{reader.verb}` reads the whole split", node.span, f"write `on {name}`")
        return None
    count = _count(reader, node)
    return Samples(name, count) if name in SPLITS else Samples(split, count, name)


def _count(reader: Reader, node: nodes.Call) -> int | None:
    """`samples=512` of a split."""
    for argument in node.arguments:
        number = trees.whole(argument.value, ("number", "count", "samples"), most=1e12)
        if argument.name is None or argument.name.text != "samples" or len(node.arguments) > 1:
            reader.refuse(
                "RCP0204",
                f"`{node.name}` takes only `samples`",
                argument.span,
                f"write `{node.name}(samples=512)`",
            )
        elif number is None:
            reader.refuse(
                "RCP0301",
                "`samples` must be a whole number of at least 1",
                argument.value.span,
                f"write `{node.name}(samples=512)`",
            )
        else:
            return number
    return None


def duration(reader: Reader) -> Duration | None:
    """`for 3 epochs`; None without the clause."""
    node = reader.argument("for")
    if node is None:
        return None
    number = node.quantity if isinstance(node, nodes.Number) else None
    if number is None or number.dimension not in ("epochs", "steps"):
        plain = node.text if number is not None and number.unit == "" else ""
        reader.refuse(
            "RCP0310",
            f"`for` takes a number of epochs or steps; `{show(node)}` is not one",
            node.span,
            f"write `for {plain} epochs` or `for {plain} steps`" if plain else "write, for example, `for 3 epochs`",
        )
        return None
    if not 0 < number.number < 1e9 or (number.unit == "steps" and number.number != int(number.number)):
        reader.refuse(
            "RCP0310",
            f"nothing can be trained for {node.text}",
            node.span,
            "write `for 3 epochs` or `for 500 steps`",
        )
        return None
    return Duration(number.number, number.unit)
