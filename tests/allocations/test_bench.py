"""The bench of allocations that try: costs, tables, scores, trained values, and what survives a kill."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benches import bench_of
from torch import nn

from recipelang.budgets.bench import Workbench
from recipelang.budgets.held import divided
from recipelang.images.dataset import ImageDataset
from recipelang.images.pairs import ArrayWholes, PairDataset
from recipelang.images.pairs import plain as plain_values
from recipelang.images.parts import Picked, part
from recipelang.images.view import Relabelled
from recipelang.kinds import Figure
from recipelang.plan import Duration
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input


def macs(network: Network) -> float:
    """Multiply-accumulates of the convolutions and the head of `plain`, counted from their widths."""
    first, second, third = (m.out_channels for m in network.module if isinstance(m, nn.Conv2d))
    return 9 * 64 * first + 9 * 64 * first * second + 9 * 16 * second * third + 3 * third


def every(bench: Workbench) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(len(queue.steps) + 1) for queue in bench.queues)))


def test_a_network_is_cut_as_its_queues_say_and_computed_costs_are_exact(bench: Callable[..., Workbench]) -> None:
    found = bench(until="flops < 0.6 and params < 0.5")
    whole = found.whole
    size = sum(p.numel() for p in whole.module.parameters())
    for taken in every(found)[::5]:
        cut = found.network(taken)
        convolutions = [m.out_channels for m in cut.module if isinstance(m, nn.Conv2d)]
        assert convolutions == [q.group.size - q.gone(k) for q, k in zip(found.queues, taken, strict=True)]
        params = sum(p.numel() for p in cut.module.parameters()) / size
        assert found.cost(taken) == pytest.approx(max(macs(cut) / macs(whole) / 0.6, params / 0.5))
        assert found.met(taken) == (found.cost(taken) < 1)
    either = bench(until="flops < 0.6 or params < 0.5")
    assert either.cost([1, 1, 1]) < found.cost([1, 1, 1]), "of alternatives the nearest counts"
    assert found.measurements == 0, "nothing was timed"


def test_a_table_reads_each_width_once_and_estimates_products_of_cuts(bench: Callable[..., Workbench]) -> None:
    reads: list[tuple[int, ...]] = []

    def clock(network: Network) -> float:
        reads.append(tuple(m.out_channels for m in network.module if isinstance(m, nn.Conv2d)))
        return 1000 + macs(network)

    found = bench(until="latency < 0.8", clocks=clock)
    whole, bound = 1000 + macs(found.whole), 0.8
    tables = [found.table(number) for number in range(3)]
    for number, table in enumerate(tables):
        for count, cost in enumerate(table):
            taken = [count if q == number else 0 for q in range(3)]
            assert cost == pytest.approx((1000 + macs(found.network(taken))) / whole / bound)
    assert found.measurements == 1 + sum(len(queue.steps) for queue in found.queues), "the whole network once"
    found.cost([1, 1, 1])
    before = found.measurements
    assert before == 2 + sum(len(queue.steps) for queue in found.queues), "and the one without all that may go"
    for taken in every(found)[::7]:
        exact = (1000 + macs(found.network(taken))) / whole / bound
        assert found.cost(taken) == pytest.approx(exact, rel=0.12), "cuts of neighbours win less together"
    assert found.measurements == before
    assert found.measured([1, 1, 1]) == pytest.approx((1000 + macs(found.network([1, 1, 1]))) / whole / bound)
    assert found.measurements == before + 1


def test_groups_that_are_alike_share_a_table(data: ImageDataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    convolutions = [layer for _ in range(3) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())]
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *convolutions, nn.Flatten(), nn.Linear(256, 3))
    network = Network(module.eval(), {}, (1, 8, 8), classes=("a", "b", "c"))
    found = bench_of(network, data, tmp_path, "latency < 0.8", lambda n: sum(p.numel() for p in n.module.parameters()))
    tables = [found.table(number) for number in range(4)]
    assert tables[1] == tables[2], "both lie between convolutions of the same widths"
    assert found.measurements == 1 + 3 * 3, "the first, the two together, and the last"


def test_what_a_search_judges_by_is_not_what_it_trains_by(data: ImageDataset) -> None:
    division = divided(data, 3)
    rest, held = division.rest, division.held
    assert (rest.size("train"), held.size("train")) == (72, 18)
    images = [
        {batch.inputs[k].numpy().tobytes() for batch in each.batches("train") for k in range(len(batch.inputs))}
        for each in (rest, held, data)
    ]
    assert images[0] | images[1] == images[2] and not images[0] & images[1]
    assert {i.numpy().tobytes() for b in rest.batches("train", epoch=1, seed=4) for i in b.inputs} <= images[0]
    assert rest.fingerprint != held.fingerprint != data.fingerprint
    assert rest.size("val") == data.size("val")


@pytest.mark.parametrize("epoch", [None, 2])
def test_a_data_set_that_cannot_pick_samples_is_read_for_it(data: ImageDataset, epoch: int | None) -> None:
    chosen = np.array([1, 4, 5, 40, 41, 42, 80])
    own, picked = part(data, chosen), Picked(data, tuple(map(int, chosen)))
    both = [
        [(batch.inputs, batch.targets) for batch in each.batches("train", batch=3, epoch=epoch, seed=1)]
        for each in (own, picked)
    ]
    assert len(both[0]) == len(both[1]) == (3 if epoch is None else 2)
    for (one, its), (other, theirs) in zip(*both, strict=True):
        assert torch.equal(one, other) and torch.equal(its, theirs), "nothing is augmented here"


def test_a_score_is_the_loss_on_what_is_held_out(bench: Callable[..., Workbench]) -> None:
    found = bench()
    inputs, targets = (torch.cat(each) for each in zip(*found.batches(), strict=True))
    for taken in ([0, 0, 0], [2, 1, 3]):
        cut = found.network(taken).module.eval()
        with torch.no_grad():
            answers = cut(inputs)
        seen = found.score(taken)
        assert seen.loss == pytest.approx(float(nn.functional.cross_entropy(answers, targets)), rel=1e-4)
        assert seen.score == pytest.approx(float((answers.argmax(1) == targets).float().mean()))
    assert len(targets) == 18


def test_statistics_are_estimated_again_on_what_is_not_held_out(
    bench: Callable[..., Workbench], network: Network
) -> None:
    for module in network.module:
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(0.01)  # type: ignore[union-attr]
    found = bench(network)
    inputs = torch.cat([batch.inputs for batch in found.data.batches("train")])
    cut = found.network([1, 2, 3])
    expected = cut.clone().module
    for module in expected:
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    expected.train()
    with torch.no_grad():
        expected(inputs)  # in one batch, so that batch statistics are those of all images
        held, targets = (torch.cat(each) for each in zip(*found.batches(), strict=True))
        loss = nn.functional.cross_entropy(expected.eval()(held), targets)
    assert found.score([1, 2, 3], recalibrated=True).loss == pytest.approx(float(loss), rel=0.05), "batches of 16"
    assert found.score([1, 2, 3]).loss != pytest.approx(float(loss), rel=0.05)


def test_adopted_values_are_where_the_trained_network_has_them(bench: Callable[..., Workbench]) -> None:
    found = bench()
    before = {name: tensor.clone() for name, tensor in found.whole.module.state_dict().items()}
    taken = [1, 2, 1]
    tuned = found.tuned(taken, Duration(3, "steps"))
    again = found.tuned(taken, Duration(3, "steps"))
    assert all(torch.equal(a, b) for a, b in zip(tuned.tensors().values(), again.tensors().values(), strict=True))
    found.adopt(tuned, taken)
    adopted = found.network(taken)
    assert all(torch.equal(a, b) for a, b in zip(tuned.tensors().values(), adopted.tensors().values(), strict=True))
    made, stays = found.together.made(found.steps(taken))
    assert not stays and torch.equal(made.module(example_input(made)), tuned.module(example_input(made)))
    step = found.queues[0].steps[0]
    after = found.whole.module.state_dict()
    assert torch.equal(after["0.weight"][list(step.parts)], before["0.weight"][list(step.parts)]), "removed: as before"
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert found.score(taken).loss == found.score(tuned).loss


def test_what_was_found_out_survives_and_another_search_does_not_read_it(
    bench: Callable[..., Workbench], tmp_path: Path
) -> None:
    made: list[str] = []

    def make(value: Any) -> Callable[[], Any]:
        return lambda: (made.append("x"), value)[1]

    with bench() as first:
        assert first.remember("a", make((1, 0.1))) == [1, 0.1], "as it will be read"
    with pytest.raises(KeyboardInterrupt), bench() as second:
        assert second.remember("a", make(None)) == [1, 0.1]
        second.remember("b", make(float("inf")))
        raise KeyboardInterrupt
    with bench() as third:
        assert third.remember("b", make(None)) == float("inf") and len(made) == 2
    with bench(until="flops < 0.7") as other:
        assert other.remember("a", make("new")) == "new", "with another budget it is another search"
    (file,) = tmp_path.glob("search-*.json")
    file.write_text(json.dumps({"format": "recipelang.search/1", "known": 3}))
    with bench() as broken:
        assert broken.remember("a", make("again")) == "again"


def test_what_is_told_is_kept_in_order(bench: Callable[..., Workbench]) -> None:
    found = bench()
    found.tell([Figure("x", 1)], "said")
    found.tell(note="more")
    assert [told.note for told in found.told] == ["said", "more"] and found.told[0].figures[0].value == 1
    assert deployed(found.whole) is not found.whole.module


def test_every_sort_of_data_set_picks_its_own_samples(data: ImageDataset) -> None:
    wholes = ArrayWholes(np.random.default_rng(0).integers(0, 255, (9, 16, 16, 1)).astype(np.uint8))
    pairs = PairDataset("pairs", plain_values(1, 8), "f" * 64, 2, {"train": wholes}, 2, 8, False)
    named = Relabelled(data, ("c", "b", "a"), (2, 1, 0))
    chosen = np.array([0, 3, 7])
    for whole in (data, pairs, named):
        some = part(whole, chosen)  # type: ignore[arg-type]
        assert not isinstance(some, Picked) and some.size("train") == 3
        assert some.fingerprint != whole.fingerprint
        every = [(i, t) for batch in whole.batches("train") for i, t in zip(batch.inputs, batch.targets, strict=True)]
        left = [(i, t) for batch in some.batches("train") for i, t in zip(batch.inputs, batch.targets, strict=True)]
        for (one, its), number in zip(left, chosen, strict=True):
            assert torch.equal(one, every[number][0]) and torch.equal(its, every[number][1])
        trained = torch.cat([batch.inputs for batch in some.batches("train", batch=1, epoch=2, seed=1)])
        assert len(trained) == 3
    assert isinstance(part(Relabelled(Picked(data, (1, 2)), ("c", "b", "a"), (2, 1, 0)), np.array([0])), Picked)
