"""What is said of a loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from recipelang.methods.losses import kd, sp
from recipelang.plan import Term
from recipelang.training.explosion import Looked, exploded

LOST = Looked(math.nan, {"task": torch.tensor(math.nan), "kd(T=4)": torch.tensor(math.nan)})
BEFORE = Looked(90.0, {"task": torch.tensor(2.0), "kd(T=4)": torch.tensor(88.0)})
Kd: Any = kd.Kd
Sp: Any = sp.Sp
KD = Kd(T=4)


def said(weight: float, before: Looked | None = BEFORE, now: Looked = LOST) -> tuple[str, str]:
    found = exploded((Term(1, None), Term(weight, KD)), 7, 0.01, now, before)
    assert found.code == "RCP0811"
    assert found.message.startswith("the loss became nan at step 7, with the learning rate 0.01")
    assert "a lower learning rate, as in `lr=0.001`" in found.help
    return found.message, found.help


def test_a_heavy_term_that_was_most_of_the_loss_before_is_blamed() -> None:
    message, help = said(50)
    assert message.endswith("; the step before, 98 % of it came from `kd(T=4)`")
    assert help.startswith("give `kd(T=4)` a smaller weight than 50, or write a lower learning rate")


@pytest.mark.parametrize(
    ("weight", "before"),
    [
        (0.9, BEFORE),  # not made heavier by its weight
        (50, Looked(90.0, {"task": torch.tensor(88.0), "kd(T=4)": torch.tensor(2.0)})),  # hardly in the loss
        (50, Looked(0.0, {"task": torch.tensor(0.0), "kd(T=4)": torch.tensor(0.0)})),
    ],
)
def test_a_term_that_is_light_or_was_little_of_the_loss_is_not_blamed(weight: float, before: Looked) -> None:
    message, help = said(weight, before)
    assert message.endswith("0.01") and help.startswith("write a lower learning rate")


def test_terms_that_are_not_finite_alone_are_named_whatever_came_before() -> None:
    now = Looked(math.nan, {"task": torch.tensor(2.0), "kd(T=4)": torch.tensor(math.inf)})
    message, help = said(50, now=now)
    assert message.endswith("; of its terms, `kd(T=4)` did") and "smaller weight than 50" in help
    assert said(0.5, now=now)[1].startswith("write a lower learning rate")
    other = Looked(math.nan, {"task": torch.tensor(math.nan), "kd(T=4)": torch.tensor(9.0)})
    assert said(50, now=other)[1].startswith("write a lower learning rate")


def test_the_only_term_has_the_weight_to_blame() -> None:
    found = exploded((Term(1e30, Sp()),), 2, 0.1, Looked(math.inf), Looked(1e31))
    assert found.help.startswith("give `sp` a smaller weight than 1e+30, or write")
    assert exploded((Term(1, Sp()),), 2, 0.1, Looked(math.inf), None).help.startswith("write a lower")
    assert exploded((), 2, 0.1, Looked(math.inf), Looked(3.0)).help.startswith("write a lower")
