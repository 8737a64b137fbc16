"""What is multiplied in integers, against counts by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.kinds import LayerExecution
from recipelang.measuring.integers import SCORES, by_layer, by_work, named
from recipelang.methods.metrics.integers import Integers
from recipelang.surgery.network import Network


class Attends(nn.Module):
    """A convolution into 9 tokens of 4 numbers, attention without a projection of its own, a shared linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 4, 2, 2), nn.Linear(4, 4), nn.Linear(4, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.stem(x).flatten(2).mT
        rows = self.mix(F.scaled_dot_product_attention(*[self.mix(rows)] * 3))
        return self.head(rows.mean(1))


WORK = {"stem": 9 * 4 * 3 * 4, "mix": 2 * 9 * 4 * 4, "head": 4 * 5}
BETWEEN = 2 * 9 * 9 * 4


def network() -> Network:
    torch.manual_seed(0)
    return Network(Attends().eval(), {}, (3, 6, 6))


def rows(**executes: str) -> tuple[LayerExecution, ...]:
    return tuple(LayerExecution(name, (1,), how, f"why {name}") for name, how in executes.items())


def test_multiply_adds_of_layers_and_of_products_of_activations_are_counted() -> None:
    found = by_work(network(), rows(stem="int8", mix="float32", head="dense"))
    whole = sum(WORK.values()) + BETWEEN
    assert found.whole == whole and abs(found.share - WORK["stem"] / whole) < 1e-12
    shares = {name: round(part * whole) for name, part, _ in found.floating}
    assert shares == {SCORES: BETWEEN, "mix": WORK["mix"], "head": WORK["head"]}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_all_that_is_left_is_named_with_its_reason() -> None:
    told = named(by_work(network(), rows(stem="float32", mix="int4", head="dense")))
    assert "`stem` (" in told and ": why stem)" in told and SCORES in told
    assert "`head` (" in told and "its weight has no grid" in told and "mix" not in told


def test_layers_count_once_and_those_that_do_not_compute_not_at_all() -> None:
    found = by_layer(rows(a="int8", b="int4", c="masked only", gone="removed", idle="never"))
    assert (found.share, found.whole) == (2 / 3, 3) and [name for name, *_ in found.floating] == ["c"]
    assert by_layer(rows(a="int8")).share == 1.0 and by_layer(()).share == 0.0


def test_everything_in_integers_is_exactly_all() -> None:
    plain = Network(nn.Sequential(nn.Conv2d(3, 7, 3), nn.Flatten(), nn.Linear(7 * 16, 3)).eval(), {}, (3, 6, 6))
    assert by_work(plain, rows(**{"0": "int8", "2": "int8"})).share == 1.0
    (measured,) = {Integers().measure(rows(**{"0": "int8", "2": "int8"}), plain, (3, 6, 6)).note}
    assert measured == f"of {16 * 7 * 27 + 3 * 7 * 16:,} multiply-adds"


def test_the_note_of_a_network_without_integers_lists_no_layers() -> None:
    found = Integers(of="layers").measure(rows(a="dense", b="masked only"), network(), (3, 6, 6))
    assert found.value == 0.0 and found.note == "of 2 layers; no layer is in integers"
