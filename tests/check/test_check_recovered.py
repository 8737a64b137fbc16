"""`check` accepts `recovered` only where every way through the recipe has one when a run gets there.

The reference walks the plan as a worker does: a restriction that differs from the one in force takes `recovered`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.plan import Branch, Chosen, Node, Repeat, Returned
from recipelang.syntax.parse import parse

SIMPLE = st.sampled_from(
    [
        "prune 1 layer by random",
        "sparsify nm 2:4",
        "sparsify nm 1:4",
        "sparsify weights to 50%",
        "quantize weights to 8 bits",
        "finetune for 1 step",
        "start from healthy",
        "start from recovered",
        "distill from healthy, recovered for 1 step",
    ]
)


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map("\n".join)
    heads = st.sampled_from(["repeat 2 times", "repeat until params < 0.5", "repeat while params > 0.5"])
    repeats = st.builds(lambda head, text: f"{head} {{\n{text}\n}}", heads, body)
    return repeats | st.builds(
        lambda a, b: f"variant a {{\n{a}\n}}\nvariant b {{\n{b}\n}}\nchoose by params", body, body
    )


STATEMENTS = st.lists(st.recursive(SIMPLE, blocks, max_leaves=6), min_size=1, max_size=6)


@dataclass(frozen=True)
class Lane:
    """One way through a plan: whether there is a `recovered`, and the restriction that is in force."""

    recovered: bool = False
    restricted: str = ""


def ways(nodes: tuple[Node, ...], lane: Lane) -> Iterator[Lane]:
    """Every way through the nodes; raises where a step finds no `recovered`."""
    if not nodes:
        yield lane
        return
    node, rest = nodes[0], nodes[1:]
    if isinstance(node, Branch):  # the choice that follows may take any of them
        ends = {end for variant in node.variants for end in ways(variant.body, lane)}
    elif isinstance(node, Repeat):
        ends = set() if node.times else {lane}
        ends |= {end for once in set(ways(node.body, lane)) for end in ways(node.body, once)}
        ends |= set(ways(node.body, lane)) if not node.times else set()
    else:
        ends = {after(node.operation.needs(), lane)}
    for end in ends:
        yield from ways(rest, end)


def after(needs, lane: Lane) -> Lane:  # type: ignore[no-untyped-def]
    if "recovered" in needs.states:
        assert lane.recovered, "a run would refuse this step"
    if isinstance(needs.writes, Returned):
        return replace(lane, restricted="")
    if isinstance(needs.writes, Chosen) or not needs.restriction:
        return lane
    return Lane(lane.recovered or lane.restricted != needs.restriction, needs.restriction)


@settings(max_examples=150, deadline=None)
@given(STATEMENTS)
def test_what_check_accepts_finds_its_recovered_on_every_way(statements: list[str]) -> None:
    text = "model digits_resnet\ndata digits\ntrain for 1 epoch\n" + "\n".join(statements)
    try:
        plan = check(parse(text))
    except RecipeError:
        return
    list(ways(plan.nodes, Lane()))


def test_a_recovered_on_every_way_is_accepted() -> None:
    for text in (
        "sparsify nm 2:4\ndistill from healthy, recovered for 1 step",
        "repeat 2 times {\nprune 1 layer by random\nsparsify nm 2:4\n}\ndistill from healthy, recovered for 1 step",
        "repeat until params < 0.5 {\nsparsify nm 2:4\ndistill from healthy, recovered for 1 step\n}",
        "variant a {\nsparsify nm 2:4\n}\nvariant b {\nsparsify nm 1:4\n}\nchoose by params\nstart from recovered",
        "quantize weights to 8 bits\nstart from recovered",
    ):
        assert check(parse(text)).nodes
