"""Where variants begin and which step chooses among them."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.plan import Branch, Chosen, Node, Reading, Step


def up_to_choice(nodes: Sequence[Node]) -> tuple[tuple[Step, ...], Step | None, tuple[Node, ...]]:
    """The steps between variants and their `choose`, the `choose` if there is one, and what comes after it."""
    at = next((i for i, n in enumerate(nodes) if chooses(n)), None)
    following = nodes if at is None else nodes[:at]
    steps = tuple(node for node in following if isinstance(node, Step))
    assert len(steps) == len(following), "check allows only steps after variants"
    return (steps, None, ()) if at is None else (steps, nodes[at], tuple(nodes[at + 1 :]))  # type: ignore[return-value]


def open_branch(nodes: Sequence[Node]) -> int | None:
    """The index of the variants that no `choose` follows; None if there are none."""
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        if isinstance(node, Branch):
            return index
        if chooses(node):
            return None
    return None


def chooses(node: Node) -> bool:
    """Whether a node is the choice among variants."""
    return isinstance(node, Step) and isinstance(node.operation.needs().writes, Chosen)


def reading_of(choose: Step) -> Reading | None:
    """What a choice decides by; None: the first that meets every verdict."""
    chosen = choose.operation.needs().writes
    assert isinstance(chosen, Chosen)
    return chosen.by
