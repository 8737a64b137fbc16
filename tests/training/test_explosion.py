"""What is said of a loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from recipelang.methods.losses import kd, sp
from recipelang.plan import Term
from recipelang.training.explosion import exploded

Kd: Any = kd.Kd
Sp: Any = sp.Sp
Values = dict[str, float]
LOST = {"task": math.nan, "kd(T=4)": math.nan}
BEFORE = {"task": 2.0, "kd(T=4)": 88.0}


def said(weight: float, before: Values = BEFORE, now: Values = LOST) -> tuple[str, str]:
    terms = (Term(1, None), Term(weight, Kd(T=4)))
    values = ({name: torch.tensor(value) for name, value in step.items()} for step in (now, before))
    found = exploded(math.nan, 7, 0.01, terms, *values)
    assert found.code == "RCP0811"
    assert found.message.startswith("the loss became nan at step 7, with the learning rate 0.01")
    assert "write a lower learning rate, as in `lr=0.001`" in found.help
    return found.message, found.help


def test_a_heavy_term_that_was_most_of_the_loss_before_is_blamed() -> None:
    message, help = said(50)
    assert message.endswith("; the step before, 98 % of it came from `kd(T=4)`")
    assert help.startswith("give `kd(T=4)` a smaller weight than 50, or write a lower learning rate")


@pytest.mark.parametrize(
    ("weight", "before"),
    [
        (0.9, BEFORE),  # not made heavier by its weight
        (50, {"task": 88.0, "kd(T=4)": 2.0}),  # hardly in the loss
        (50, {"task": 0.0, "kd(T=4)": 0.0}),
        (50, {}),  # the first step: the weights of the network may be to blame
    ],
)
def test_a_term_that_is_light_or_was_little_of_the_loss_is_not_blamed(weight: float, before: Values) -> None:
    message, help = said(weight, before)
    assert message.endswith("0.01") and help.startswith("write a lower learning rate")


def test_terms_that_are_not_finite_alone_are_named_whatever_came_before() -> None:
    now = {"task": 2.0, "kd(T=4)": math.inf}
    message, help = said(50, now=now)
    assert message.endswith("; of its terms, `kd(T=4)` did") and "smaller weight than 50" in help
    assert said(0.5, now=now)[1].startswith("write a lower learning rate")
    assert said(50, now={"task": math.nan, "kd(T=4)": 9.0})[1].startswith("write a lower learning rate")


def test_the_only_term_has_the_weight_to_blame() -> None:
    def help(*terms: Term) -> str:
        return exploded(math.inf, 2, 0.1, terms, {}, {}).help

    assert help(Term(1e30, Sp())).startswith("give `sp` a smaller weight than 1e+30, or write")
    assert help(Term(1, Sp())).startswith("write a lower") and help().startswith("write a lower")
