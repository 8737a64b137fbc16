"""Which kernel is taken: by synthetic times, so that no clock and no GPU is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from gpuless.pretended import Pretended
from gpuless.scripted import GPU, Scripted, problem, weight
from hypothesis import given
from hypothesis import strategies as st

from recipelang.kernels.nm import chooser as chooser_module
from recipelang.kernels.nm.chooser import Choice, Chooser, decide, problem_key
from recipelang.kernels.nm.dense import Dense
from recipelang.kernels.nm.device import describe
from recipelang.kernels.nm.problem import Configuration, Device
from recipelang.kernels.nm.table import Table
from recipelang.kernels.nm.trials import Trial

CPU = torch.device("cpu")


def trials(**seconds: float | None) -> list[Trial]:
    return [Trial(name, {}, time, "" if time is not None else f"{name} cannot") for name, time in seconds.items()]


# -------------------------------------------------------------------------------------------------- the decision
def test_the_fastest_sparse_kernel_is_taken_where_it_pays() -> None:
    choice = decide(trials(dense=10e-6, mma=5e-6, vendor=7e-6), ("dense", "mma", "vendor"), "latency")
    assert (choice.kernel, choice.seconds, choice.dense_seconds) == ("mma", 5e-6, 10e-6)
    assert choice.why == "2.00 times as fast: 5.0 µs against 10.0 µs dense"


def test_less_than_three_percent_is_no_gain() -> None:
    assert decide(trials(dense=10.29e-6, mma=10e-6), ("dense", "mma"), "latency").kernel == "dense"
    assert decide(trials(dense=10.31e-6, mma=10e-6), ("dense", "mma"), "latency").kernel == "mma"
    assert "not 3 % faster" in decide(trials(dense=9e-6, mma=10e-6), ("dense", "mma"), "latency").why


def test_a_recipe_that_demands_sparse_gets_the_fastest_sparse_one() -> None:
    choice = decide(trials(dense=1e-6, mma=5e-6, vendor=4e-6), ("mma", "vendor"), "latency")
    assert (choice.kernel, "the recipe asks for it" in choice.why) == ("vendor", True)


def test_for_memory_the_packed_form_is_taken_even_where_it_is_slower() -> None:
    choice = decide(trials(dense=1e-6, mma=5e-6), ("dense", "mma"), "memory")
    assert choice.kernel == "mma"
    assert "less memory" in choice.why


def test_a_kernel_that_is_not_allowed_is_not_taken() -> None:
    assert decide(trials(dense=10e-6, mma=1e-6, vendor=5e-6), ("dense", "vendor"), "latency").kernel == "vendor"


def test_where_all_refuse_the_reasons_are_told() -> None:
    choice = decide(trials(dense=1e-6, mma=None, vendor=None), ("dense", "mma", "vendor"), "latency")
    assert choice == Choice("dense", {}, 1e-6, 1e-6, "mma cannot; vendor cannot")


@given(st.lists(st.floats(1e-7, 1e-2), min_size=2, max_size=6), st.sampled_from(["latency", "memory"]))
def test_latency_never_chooses_what_is_slower_than_dense(seconds: list[float], goal: str) -> None:
    names = [f"k{i}" for i in range(1, len(seconds))]
    found = [Trial(name, {}, time) for name, time in zip(["dense", *names], seconds, strict=True)]
    choice = decide(found, ("dense", *names), goal)
    assert choice.seconds is not None
    if goal == "latency":
        assert choice.seconds <= seconds[0]
    else:
        assert choice.seconds == min(seconds[1:])


# --------------------------------------------------------------------------------------------------- the chooser
def chooser(timer: Scripted, **changes: Any) -> Chooser:
    settings: dict[str, Any] = {
        "device": CPU,
        "goal": "latency",
        "allowed": ("dense", "pretended"),
        "timer": timer,
        "table": Table(),
        "kernels": (Dense(), Pretended()),
    }
    return Chooser(**settings | changes)


def test_a_problem_is_measured_once() -> None:
    timer = Scripted([2.0, 1.0])
    one = chooser(timer)
    first, again = one.choose(problem(), weight()), one.choose(problem(), weight(seed=1))
    assert first == again
    assert timer.samplers == 2


def test_rows_of_one_range_share_a_measurement_and_others_do_not() -> None:
    timer = Scripted([2.0, 1.0, 1.0, 2.0])
    one = chooser(timer)
    assert one.choose(problem(rows=5), weight()).kernel == "pretended"
    assert one.choose(problem(rows=8), weight()).kernel == "pretended"
    assert one.choose(problem(rows=9), weight()).kernel == "dense"


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 100},
        {"outputs": 64},
        {"inputs": 128},
        {"dtype": torch.bfloat16},
        {"values": torch.int8},
        {"bias": False},
        {"activation": "relu"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_decides_the_time_is_in_the_key(change: dict[str, Any]) -> None:
    assert problem_key(problem(**change), "eager", cold=True) != problem_key(problem(), "eager", cold=True)


def test_how_it_is_called_and_where_weights_come_from_are_in_the_key() -> None:
    keys = {problem_key(problem(), timing, cold=cold) for timing in ("eager", "graph") for cold in (True, False)}
    assert len(keys) == 4


def test_on_a_cpu_nothing_is_timed() -> None:
    timer = Scripted([])
    choice = chooser(timer).choose(problem(device=Device("cpu")), weight())
    assert (choice.kernel, choice.seconds) == ("dense", None)
    assert "a CPU has no sparse matrix units" in choice.why


def test_an_old_gpu_says_what_it_lacks() -> None:
    choice = chooser(Scripted([])).choose(problem(device=replace(GPU, name="V100", capability=(7, 0))), weight())
    assert "V100 (compute capability 7.0) has no sparse tensor cores" in choice.why


@pytest.mark.parametrize("goal", ["latency", "memory"])
def test_in_float32_nothing_is_timed(goal: str) -> None:
    """Though the portable kernel has it: predictions are made in float32, in large batches."""
    wide = problem(dtype=torch.float32, values=torch.float32)
    choice = chooser(Scripted([]), goal=goal, allowed=("pretended",)).choose(wide, weight())
    assert (choice.kernel, choice.why) == ("dense", "sparse kernels compute in float16 or bfloat16, not in float32")


def test_a_gpu_of_another_maker_runs_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    facts = type("Facts", (), {"name": "MI300X", "major": 9, "minor": 4, "L2_cache_size": 0})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
    found = describe.__wrapped__(torch.device("cuda"))
    choice = chooser(Scripted([])).choose(problem(device=found), weight())
    assert (choice.kernel, choice.seconds) == ("dense", None)
    assert choice.why.startswith("MI300X is not an NVIDIA GPU")


def test_where_no_allowed_kernel_can_nothing_is_timed() -> None:
    kernels = (Dense(), Pretended(refuses="it needs 16-bit numbers"))
    choice = chooser(Scripted([]), kernels=kernels).choose(problem(), weight())
    assert (choice.kernel, choice.why) == ("dense", "it needs 16-bit numbers")


def test_weights_that_do_not_stay_in_the_cache_are_read_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(GPU, l2_bytes=4000)
    monkeypatch.setattr(chooser_module, "describe", lambda device: small)
    cached, cold = Scripted([2.0, 1.0]), Scripted([2.0, 1.0])
    chooser(cached, resident_bytes=3000).choose(problem(), weight())
    chooser(cold, resident_bytes=10_000_000).choose(problem(), weight())
    assert set(cached.copies) == {1}
    read = weight().values.nbytes + weight().meta.nbytes
    assert all(copies * read >= 2 * small.l2_bytes for copies in cold.copies)


def test_a_kernel_that_a_stored_table_does_not_know_is_tried() -> None:
    table = Table()
    timer = Scripted([2.0, 1.0, 0.5])
    chooser(timer, kernels=(Dense(),), allowed=("dense",), table=table)
    table.keep(problem_key(problem(), "eager", cold=False), [Trial("dense", {}, 2.0)])
    assert chooser(timer, table=table).choose(problem(), weight()).kernel == "pretended"


@pytest.mark.parametrize("tiles", [({"tile": 2},), ({"tile": 1}, {"tile": 2}), ({"renamed": 1},)])
def test_configurations_that_a_stored_table_does_not_know_are_tried(tiles: tuple[Configuration, ...]) -> None:
    table = Table()
    chooser(Scripted([2.0, 1.0]), table=table).choose(problem(), weight())
    timer = Scripted([2.0, *[0.5] * len(tiles)])
    again = chooser(timer, table=table, kernels=(Dense(), Pretended(tiles=tiles)))
    assert again.choose(problem(), weight()).configuration in tiles
    assert timer.samplers == 1 + len(tiles)


def test_what_was_refused_as_a_whole_is_not_tried_again() -> None:
    table = Table()
    kernels = (Dense(), Pretended(), Pretended("vendor", refuses="it has no kernels", tiles=({"a": 1}, {"a": 2})))
    chooser(Scripted([2.0, 1.0]), table=table, kernels=kernels).choose(problem(), weight())
    assert chooser(Scripted([]), table=table, kernels=kernels).choose(problem(), weight()).kernel == "pretended"
