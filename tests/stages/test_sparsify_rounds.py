"""Masks set in rounds, with what stays going back to a kept state before each: the lottery ticket's law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import Images, context, operation
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import EvenRounds
from recipelang.meaning import schedules
from recipelang.methods.patterns.kernels import Kernels
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.schedules.lottery import Lottery
from recipelang.plan import Course, Duration, Training
from recipelang.stages import _rounds
from recipelang.stages.context import Context, nth_seed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import broken, restrict
from recipelang.surgery.restrictions.mask import Mask

WIDE = ("0.weight", "3.weight", "6.weight")


def network(seed: int, width: int = 16) -> Network:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(4, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 8, 3), nn.ReLU()]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 3)).eval()
    module[1].running_mean.uniform_(-1, 1)
    return Network(module, {}, (4, 8, 8), classes=("a", "b", "c"))


def magnitudes(of: Network) -> Mapping[str, Tensor]:
    return {name: of.module.get_parameter(name).detach().abs() for name in WIDE}


@pytest.fixture
def training() -> Training:
    from recipelang.methods.optimizers.sgd import Sgd
    from recipelang.methods.ramps.cosine import Cosine

    return Training(Duration(4), Sgd(lr=Cosine(0.5), momentum=0.9), course=Course(Lottery("early", 4), 0.9))


def between(trained: Network, early: Network, folder: Path) -> Context:
    """The context of a trained network, where `early` is kept."""

    def state(name: str) -> Network:
        assert name == "early"
        return early

    return context(trained, Images(), folder, seed=7, state=state)


def test_what_stays_starts_every_round_as_it_was_kept(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, early = network(0), network(1)
    rounds: list[tuple[Network, Network, Training, int]] = []
    real = _rounds.fit

    def fit(start: Network, data: Any, part: Training, **how: Any) -> Any:
        ended, record = real(start, data, part, **how)
        rounds.append((start, ended, part, how["seed"]))
        return ended, record

    monkeypatch.setattr(_rounds, "fit", fit)
    outcome = _rounds.in_rounds(between(trained, early, tmp_path), training, Weights(0.9), WIDE, magnitudes)

    assert [part.duration for *_, part, _ in rounds] == [Duration(1.0)] * 4 == [t.duration for t in outcome.training]
    assert [seed for *_, seed in rounds] == [nth_seed(7, n) for n in range(4)]
    assert all(part.course is None and part.optimizer == training.optimizer for *_, part, _ in rounds)
    before: Network = trained
    keep = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in magnitudes(trained).items()}
    for turn, (start, ended, *_) in enumerate(rounds, 1):
        # the lowest magnitudes of what the round before left are masked: by hand, of those that stay
        for name in WIDE:
            weight = before.module.get_parameter(name).detach()
            count = -int(-weight.numel() * (1 - 0.1 ** (turn / 4)) // 1)
            gone = weight.abs().masked_fill(~keep[name], -1).flatten().argsort()[:count]
            expected = torch.ones(weight.numel(), dtype=torch.bool)
            expected[gone] = False
            now = start.masks[name].keep
            assert torch.equal(now.flatten(), expected)
            assert not (now & ~keep[name]).any(), "masks are nested"
            keep[name] = now
        state, kept = start.module.state_dict(), early.module.state_dict()
        for key, value in kept.items():
            masked = value * keep[key] if key in keep else value
            assert torch.equal(state[key], masked), f"{key} is as it was kept, bit for bit"
        assert not broken(ended)
        assert not torch.equal(ended.module.state_dict()["6.bias"], kept["6.bias"]), "it was trained"
        before = ended
    assert outcome.network is rounds[-1][1]
    assert [len(outcome.history), outcome.history[0]["epoch"]] == [4, 1]


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, early = network(0), network(1)
    whole = _rounds.in_rounds(between(trained, early, tmp_path / "whole"), training, Kernels(0.9), WIDE[:2], magnitudes)
    real, calls = _rounds.fit, []

    def killed(*args: Any, **how: Any) -> Any:
        calls.append(how["checkpoint"].name)
        if calls == ["round-1", "round-2"]:
            raise KeyboardInterrupt
        return real(*args, **how)

    monkeypatch.setattr(_rounds, "fit", killed)
    here = between(trained, early, tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        _rounds.in_rounds(here, training, Kernels(0.9), WIDE[:2], magnitudes)
    records = []

    def again(*args: Any, **how: Any) -> Any:
        ended, record = real(*args, **how)
        records.append(record.resumed_at)
        return ended, record

    monkeypatch.setattr(_rounds, "fit", again)
    ended = _rounds.in_rounds(here, training, Kernels(0.9), WIDE[:2], magnitudes)
    assert records == [2, 0, 0, 0]  # the first round is read
    mine, theirs = ended.network.tensors(), whole.network.tensors()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_an_earlier_mask_holds(training: Training, tmp_path: Path) -> None:
    """Zeros that the network comes with stay, in weights that take the pattern and in those that do not."""
    old = {name: torch.rand(network(0).module.get_parameter(name).shape) > 0.3 for name in ("0.weight", "6.weight")}
    trained = restrict(network(0), {name: Mask("weights", keep) for name, keep in old.items()})
    ended = _rounds.in_rounds(between(trained, network(1), tmp_path), training, Weights(0.9), WIDE[:2], magnitudes)
    for name, keep in old.items():
        assert not ended.network.module.get_parameter(name)[~keep].any()
    assert set(ended.network.masks) == {"0.weight", "3.weight", "6.weight"}


def test_a_state_of_another_architecture_is_refused(training: Training, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        _rounds.in_rounds(between(network(0), network(1, 12), tmp_path), training, Weights(0.9), WIDE, magnitudes)
    assert refused.value.code == "RCP0791"
    assert "`early`" in str(refused.value) and "`0.weight` is of 16×4×3×3 here and of 12×4×3×3 there" in str(
        refused.value
    )


@given(st.floats(0.01, 0.99), st.integers(1, 12), st.integers(1, 40), st.integers(1, 9))
def test_every_round_takes_the_same_share_of_what_is_left(final: float, rounds: int, epochs: int, long: int) -> None:
    schedule = Lottery("early", rounds)
    left = [1.0, *(1 - schedule.after(final, turn) for turn in range(1, rounds + 1))]
    ratios = [after / before for before, after in zip(left, left[1:], strict=False)]
    assert ratios == pytest.approx([(1 - final) ** (1 / rounds)] * rounds)
    assert schedule.after(final, rounds) == final
    # the plan shows these targets, each at the first step of its round
    if epochs * long >= rounds:
        moments = schedules.moments(Course(schedule, final), Duration(epochs), long)
        assert [target for _, target in moments] == [schedule.after(final, turn) for turn in range(1, rounds + 1)]
        starts = [step for step, _ in moments]
        assert starts[0] == 0 and starts == sorted(set(starts))
        if epochs >= rounds:  # rounds of whole epochs, as `training.rounds.share` divides them
            from recipelang.training.rounds import share

            parts = [
                share(Training(Duration(epochs), None), turn, rounds).duration.count for turn in range(1, rounds + 1)
            ]
            assert starts == [long * sum(parts[:turn]) for turn in range(rounds)]


def test_even_rounds_mask_equal_parts_and_go_on_from_where_they_are(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And Spearman's correlation of the first ranking with the order in which weights left is that of scipy."""
    rounds: list[tuple[Network, Network]] = []
    real = _rounds.fit

    def fit(start: Network, *args: Any, **how: Any) -> Any:
        ended, record = real(start, *args, **how)
        rounds.append((start, ended))
        return ended, record

    monkeypatch.setattr(_rounds, "fit", fit)
    even = replace(training, duration=Duration(3), course=Course(EvenRounds(3), 0.9))
    here = between(network(0), network(1), tmp_path)
    outcome = _rounds.in_rounds(here, even, Weights(0.9), WIDE, magnitudes)
    before, scores = here.network, [magnitudes(here.network), *(magnitudes(ended) for _, ended in rounds)]
    for turn, (start, ended) in enumerate(rounds, 1):
        for name, weight in magnitudes(before).items():
            keep = start.masks[name].keep
            assert int((~keep).sum()) == -int(-weight.numel() * 0.3 * turn // 1)  # rounded up
            assert torch.equal(start.module.get_parameter(name), before.module.get_parameter(name) * keep)
            assert weight[keep].min() >= weight[~keep].max()
        before = ended
    figure = outcome.reached[0]
    total, count = 0.0, 0
    for name in WIDE:
        gone = torch.stack([~start.masks[name].keep.flatten() for start, _ in rounds])
        turn = [next((n for n in range(3) if gone[n, k]), 3) for k in range(gone.shape[1])]
        keys = [(t, float(scores[min(t, 2)][name].flatten()[k])) for k, t in enumerate(turn)]
        places = sorted(set(keys))
        rank = {key: n for n, key in enumerate(places)}
        total += len(keys) * spearmanr(scores[0][name].flatten(), [rank[key] for key in keys]).statistic
        count += len(keys)
    assert figure.value == pytest.approx(total / count, abs=5e-4) and figure.what.startswith("rank correlation")
    assert outcome.note.startswith("3 rounds: 30.") and outcome.note.endswith(" zeros")


def test_even_rounds_that_were_killed_go_on_to_the_same_bytes(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    even = replace(training, duration=Duration(2), course=Course(EvenRounds(2), 0.8))
    run = lambda folder: _rounds.in_rounds(  # noqa: E731
        between(network(0), network(1), tmp_path / folder), even, Weights(0.8), WIDE, magnitudes
    )
    whole, real, calls = run("whole"), _rounds.fit, []

    def killed(*args: Any, **how: Any) -> Any:
        calls.append(how["checkpoint"].name)
        if calls == ["round-1", "round-2"]:
            raise KeyboardInterrupt
        return real(*args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(_rounds, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    again = run("killed")
    assert again.reached == whole.reached and again.history == whole.history
    mine, theirs = again.network.tensors(), whole.network.tensors()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_recipe_in_rounds_is_planned_and_run() -> None:
    plan = operation("sparsify weights to 90% over 3 rounds for 9 epochs")
    assert isinstance(plan.schedule, EvenRounds) and plan.needs().rounds == 3
    assert plan.schedule.telling(0.9, 9, 1) == "3 rounds, each ranks again: 30.00 %, 60.00 %, 90.00 % zeros"
    assert EvenRounds(7).telling(0.7, 9, 1).endswith("10.00 %, 20.00 %, 30.00 %, …, 70.00 % zeros")
