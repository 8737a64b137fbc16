"""`netadapt` against the loop of the paper written out for a row of convolutions, with a clock that is known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.budgets.bench import Workbench
from recipelang.kinds import Quiet
from recipelang.methods.allocations.netadapt import NetAdapt
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.training.loop import fit

Kept = list[list[int]]  # of each of the three convolutions, the filters that stay
ROWS = ("0", "3", "6")


def macs(kept: Kept) -> int:
    first, second, third = map(len, kept)
    return 9 * 64 * first + 9 * 64 * first * second + 9 * 16 * second * third + 3 * third


def places(kept: Kept) -> dict[str, tuple[Any, ...]]:
    """Tensor of `plain` → which of its numbers are left."""
    inputs = [[0], *kept]
    found: dict[str, tuple[Any, ...]] = {"11.weight": (slice(None), kept[2]), "11.bias": (slice(None),)}
    for number, row in enumerate(ROWS):
        both = torch.tensor(kept[number])[:, None], torch.tensor(inputs[number])[None, :]
        found |= {f"{row}.weight": both, f"{row}.bias": (kept[number],)}
        norm = str(int(row) + 1)
        found |= {f"{norm}.{name}": (kept[number],) for name in ("weight", "bias", "running_mean", "running_var")}
    return found


def cut(whole: Network, state: dict[str, Tensor], kept: Kept) -> Network:
    """A new network of these widths with the values of the whole one."""
    widths = list(map(len, kept))
    module = copy.deepcopy(whole.module)
    for number, row in enumerate(map(int, ROWS)):
        old = module[row]
        module[row] = nn.Conv2d(
            [1, *widths][number],
            widths[number],
            3,
            padding=1,
            stride=old.stride,  # type: ignore[arg-type]
        )
        module[row + 1] = nn.BatchNorm2d(widths[number])
    module[11] = nn.Linear(widths[2], 3)
    at = places(kept)
    module.load_state_dict({name: tensor[at[name]] if name in at else tensor for name, tensor in state.items()})
    return replace(whole, module=module.eval())


def by_hand(bench: Workbench, asked: NetAdapt, bound: float) -> tuple[list[int], list[float]]:
    """Algorithm 1 of the paper: the steps that are taken, and the loss of what each iteration keeps."""
    whole, queues = bench.whole, bench.queues
    state = {name: tensor.clone() for name, tensor in whole.module.state_dict().items()}
    held, targets = (torch.cat(each) for each in zip(*bench.batches(), strict=True))
    training = Training(Duration(asked.steps, "steps"), bench.optimizer)

    def kept(taken: list[int]) -> Kept:
        gone = [[p for s in q.steps[:k] for p in s.parts] for q, k in zip(queues, taken, strict=True)]
        return [[p for p in range(q.group.size) if p not in g] for q, g in zip(queues, gone, strict=True)]

    def resource(taken: list[int]) -> float:
        return macs(kept(taken)) / macs(kept([0, 0, 0])) / bound

    taken, losses, iteration = [0, 0, 0], list[float](), 0
    while resource(taken) >= 1:
        reduction = min(asked.reduction * asked.decay**iteration * resource([0, 0, 0]), resource(taken) - 1)
        if resource(taken) == 1:
            reduction = 0.005
        best = None
        for k in range(3):
            proposal = list(taken)
            while proposal[k] < len(queues[k].steps):
                proposal[k] += 1
                if resource(proposal) <= resource(taken) - reduction:
                    break
            else:
                continue
            tuned, _ = fit(
                cut(whole, state, kept(proposal)), bench.data, training, task=bench.task, seed=iteration + 1,
                device="cpu", threads=1, progress=Quiet(),
            )  # fmt: skip
            with torch.no_grad():
                loss = float(nn.functional.cross_entropy(tuned.module.eval()(held), targets))
            if best is None or loss < best[0]:
                best = loss, proposal, tuned
        assert best is not None
        losses.append(best[0])
        taken, iteration = best[1], iteration + 1
        at = places(kept(taken))
        for name, tensor in best[2].module.state_dict().items():
            if name in at:
                state[name][at[name]] = tensor
            else:
                state[name] = tensor
    return taken, losses


def test_it_takes_what_the_loop_of_the_paper_takes(bench: Callable[..., Workbench]) -> None:
    asked = NetAdapt(reduction=0.2, decay=0.9, steps=3)
    taken, losses = by_hand(bench(), asked, 0.4)
    found = bench(until="flops < 0.4")
    steps = asked.explore(found.queues, found)
    assert tuple(steps) == found.steps(taken)
    assert found.met(taken)
    (told,) = found.told
    way, shares = told.plots
    assert list(way.lines[0].y) == pytest.approx(losses, rel=1e-3)
    assert [figure.value for figure in told.figures][:1] == [len(losses)]
    assert len(told.figures) == 2, "nothing was timed"
    last = [line.y[-1] for line in shares.lines]
    assert last == [100 * q.gone(k) / q.group.size for q, k in zip(found.queues, taken, strict=True)]
    assert found.score(taken).loss == pytest.approx(losses[-1], rel=1e-3), "the values are those that were tuned"


@pytest.mark.parametrize("steps", [0, 2])
def test_a_clock_is_read_for_the_table_and_once_in_each_iteration(bench: Callable[..., Workbench], steps: int) -> None:
    def clock(network: Network) -> float:
        widths = tuple(m.out_channels for m in network.module if isinstance(m, nn.Conv2d))
        return 2000 + macs([list(range(width)) for width in widths]) ** 0.9

    found = bench(until="latency < 0.7", clocks=clock)
    taken = NetAdapt(reduction=0.1, steps=steps).explore(found.queues, found)
    table = 2 + sum(len(queue.steps) for queue in found.queues)  # the whole network, and one with all steps taken
    figures = {figure.noun: figure for figure in found.told[0].figures}
    timed, iterations = figures["measurement"].value, figures["iteration"].value
    assert timed == found.measurements and iterations is not None
    assert table < timed <= min(table + iterations, 3 * table), "a first cut is in the table"
    assert f"{table} of them for the table" in figures["measurement"].what
    counts = [sum(step.group == queue.group.name for step in taken) for queue in found.queues]
    assert found.met(counts)
    assert found.measured([0, 0, 0]) * 0.7 == pytest.approx(1)


def test_where_nothing_meets_the_budget_it_goes_as_far_as_it_can(bench: Callable[..., Workbench]) -> None:
    found = bench(until="flops < 0.001")
    taken = NetAdapt(reduction=0.5, steps=0).explore(found.queues, found)
    assert len(taken) == sum(len(queue.steps) for queue in found.queues)


def test_proposals_that_are_known_are_not_tuned_again(bench: Callable[..., Workbench]) -> None:
    asked, calls = NetAdapt(reduction=0.2, steps=2), list[str]()
    scored = Workbench.score

    def counting(self: Workbench, given: Any, **how: Any) -> Any:
        calls.append("x")
        if len(calls) == 5:
            raise KeyboardInterrupt
        return scored(self, given, **how)

    first = bench(until="flops < 0.4", allocation=asked)
    first.score = counting.__get__(first)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), first:
        asked.explore(first.queues, first)
    second = bench(until="flops < 0.4", allocation=asked)
    second.score = counting.__get__(second)  # type: ignore[method-assign]
    with second:
        taken = asked.explore(second.queues, second)
    whole = bench(until="flops < 0.4")
    expected = asked.explore(whole.queues, whole)
    assert taken == expected
    assert len(calls) - 1 == whole.told[0].figures[1].value, "each proposal was judged once, over both"
    same = zip(second.whole.tensors().values(), whole.whole.tensors().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
