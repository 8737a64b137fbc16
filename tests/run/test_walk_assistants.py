"""A chain of assistants, each learning from the one before; one between equal networks is refused by the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang.errors import RecipeError, StepFailed

CHAIN = """data digits
model digits_vgg
train for 1 steps
keep as big
model digits_resnet as medium
start from medium
distill from big for 1 steps with kd
keep as assistant
"""
LAST = "distill from assistant for 1 steps with kd\n"


def test_a_chain_ends_with_the_small_network(lab: Any) -> None:
    done = lab.run(f"{CHAIN}model digits_lenet as small\nstart from small\n{LAST}measure params\n")
    assert done.code == 0
    taught = [step["text"].split(" for ")[0] for step in done.steps(verb="distill")]
    assert taught == ["distill from big", "distill from assistant"]
    alone = lab.run("data digits\nmodel digits_lenet\nmeasure params\n")
    assert done.metric("params") == alone.metric("params", "healthy")


@pytest.mark.parametrize(
    "between",
    ["start from big\n", "start from big\nfinetune for 1 steps\n"],
)
def test_an_assistant_between_equal_networks_is_refused_by_the_plan(lab: Any, between: str, tmp_path: Path) -> None:
    with pytest.raises((RecipeError, StepFailed)) as caught:
        lab.plan(CHAIN + between + LAST, store=tmp_path / "store")
    (wrong,) = caught.value.diagnostics
    assert wrong.code == "RCP1522" and "`assistant` is between equal networks" in wrong.message


@pytest.mark.parametrize(
    "between",
    [
        "start from assistant\n",  # a second generation of the same kind
        "start from big\nprune 25% filters by magnitude\n",  # smaller than the first
        "start from big\nsparsify nm 2:4\n",
    ],
    ids=["generation", "pruned", "masked"],
)
def test_networks_that_are_not_equal_are_not_refused(lab: Any, between: str) -> None:
    assert lab.plan(CHAIN + between + LAST).text()
