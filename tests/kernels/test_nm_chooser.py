"""Which kernel is taken: by synthetic times, so that no clock and no GPU is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from recipelang.errors import Refusal
from recipelang.kernels.nm import chooser as chooser_module
from recipelang.kernels.nm import trials as trials_module
from recipelang.kernels.nm.chooser import Choice, Chooser, decide, problem_key
from recipelang.kernels.nm.dense import Dense
from recipelang.kernels.nm.device import answers, describe
from recipelang.kernels.nm.format import Packed, pack, unpack
from recipelang.kernels.nm.problem import Configuration, Device, Problem, activate
from recipelang.kernels.nm.reference import nm_mask
from recipelang.kernels.nm.table import Table
from recipelang.kernels.nm.trials import Trial, agrees, reference, try_all

GPU = Device("cuda", "Test GPU", (9, 0), (3, 6), 801, 50 << 20)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pretended:
    """A sparse kernel that computes in plain torch, as fast as it is told to be and as wrong."""

    name: str = "pretended"
    layout: ClassVar[str] = "dense"
    sparse: ClassVar[bool] = True
    spoil: Callable[[Tensor], Tensor] = lambda y: y
    refuses: str | None = None
    tiles: tuple[Configuration, ...] = ({"tile": 1},)

    def why_not(self, problem: Problem) -> str | None:
        return self.refuses

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        return (unpack(packed, dtype).to(device),)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        return self.tiles

    def run(
        self, x: Tensor, operands: tuple[Tensor, ...], bias: Tensor | None, problem: Problem, configuration: Any
    ) -> Tensor:
        return self.spoil(activate(functional.linear(x, operands[0], bias), problem.activation))


@dataclass
class Scripted:
    """A timer that answers what the script says, in the order in which samplers were asked for."""

    seconds: Sequence[float]
    samplers: int = 0
    samples: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)

    def sampler(self, calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
        number = self.samplers
        self.samplers += 1
        self.copies.append(len(calls))
        calls[-1]()

        def sample() -> float:
            self.samples.append(number)
            return self.seconds[number]

        return sample


def weight(outputs: int = 32, inputs: int = 64, seed: int = 0) -> Packed:
    dense = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))
    return pack((dense * nm_mask(dense.abs(), 2, 4)).half())


def problem(**changes: Any) -> Problem:
    return replace(Problem(8, 32, 64, torch.float16, GPU, torch.float16), **changes)


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


# ---------------------------------------------------------------------------------------------------- the trials
def test_every_configuration_is_timed_in_turns_and_the_hopeless_are_dropped() -> None:
    timer = Scripted([10.0, 5.0, 9.0, 5.5])
    kernel = Pretended(tiles=({"tile": 1}, {"tile": 2}, {"tile": 3}))
    found = try_all(problem(), weight(), (Dense(), kernel), timer, CPU)
    assert [(t.kernel, dict(t.configuration), t.seconds) for t in found] == [
        ("dense", {}, 10.0),
        ("pretended", {"tile": 1}, 5.0),
        ("pretended", {"tile": 2}, 9.0),
        ("pretended", {"tile": 3}, 5.5),
    ]
    assert timer.samples[:4] == [0, 1, 2, 3]
    assert timer.samples.count(2) < timer.samples.count(1) == timer.samples.count(0)


def test_inputs_are_such_that_activations_are_told_apart() -> None:
    """Of large numbers GELU is ReLU, and of small ones all are the same."""
    for size in (1e-2, 1.0, 1e2):
        packed = weight(inputs=1024)
        packed = Packed((packed.values.float() * size).half(), packed.meta)
        wrong = Pretended(spoil=lambda y: torch.relu(y))
        found = try_all(problem(inputs=1024, activation="gelu"), packed, (Dense(), wrong), Scripted([1.0, 0.1]), CPU)
        assert found[-1].refused == "its result was wrong"


def zero_one(y: Tensor) -> Tensor:
    return y.index_fill(1, torch.tensor([3]), 0.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: y * 1.02,
        lambda y: torch.full_like(y, float("nan")),
        zero_one,
        lambda y: y.roll(1, dims=0),
        lambda y: y[:-1],
        lambda y: y + 0.05 * y.float().std().half(),
    ],
    ids=["scaled", "nan", "one output missing", "rows shifted", "too short", "an offset"],
)
def test_a_wrong_result_is_never_timed(spoil: Callable[[Tensor], Tensor]) -> None:
    timer = Scripted([1.0, 0.1])
    found = try_all(problem(), weight(), (Dense(), Pretended(spoil=spoil)), timer, CPU)
    assert [t.refused for t in found] == ["", "its result was wrong"]
    assert timer.samplers == 1


def test_a_result_that_is_wrong_now_and_then_is_found() -> None:
    calls: list[int] = []

    def at_times(y: Tensor) -> Tensor:
        calls.append(1)
        return y * (1.1 if len(calls) == 3 else 1.0)

    found = try_all(problem(), weight(), (Dense(), Pretended(spoil=at_times)), Scripted([1.0, 0.1]), CPU)
    assert found[-1].refused == "its result was wrong"


def test_a_kernel_that_raises_is_left_out_with_its_words() -> None:
    def fail(y: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: operation not supported\nand more lines")

    found = try_all(problem(), weight(), (Dense(), Pretended(spoil=fail)), Scripted([1.0]), CPU)
    assert found[-1].refused == "it failed: RuntimeError: CUDA error: operation not supported"


def test_a_kernel_that_breaks_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an illegal access every call fails, whichever kernel it is of."""

    def fail(y: Tensor) -> Tensor:
        monkeypatch.setattr(trials_module, "answers", lambda device: False)
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(Refusal, match="`pretended` tile=1 broke `cpu` .* an illegal memory access") as refused:
        try_all(problem(), weight(), (Dense(), Pretended(spoil=fail)), Scripted([1.0]), CPU)
    assert refused.value.code == "RCP1307"


def test_a_device_answers_until_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    assert answers(CPU)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert not answers(torch.device("cuda"))


def test_a_refusal_is_kept_with_its_reason() -> None:
    found = try_all(problem(), weight(), (Dense(), Pretended(refuses="no such GPU")), Scripted([1.0]), CPU)
    assert found[-1] == Trial("pretended", {}, None, "no such GPU")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "gelu_tanh", "silu"])
def test_rounding_alone_is_no_fault(dtype: torch.dtype, activation: str) -> None:
    asked = problem(dtype=dtype, activation=activation, inputs=1024)
    packed = pack(unpack(weight(32, 1024)).to(dtype))
    x = torch.randn(8, 1024, generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(32, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, allowed = reference(asked, packed, x, bias)
    dense = activate(functional.linear(x.float(), unpack(packed).float(), bias.float()), activation).to(dtype)
    assert agrees(dense, expected, allowed)
    # As a split sum does that is added up in the short format.
    wide, long = x.float(), unpack(packed).float()
    halves = [functional.linear(wide[:, k], long[:, k]).to(dtype) for k in (slice(512), slice(512, None))]
    assert agrees(activate(halves[0] + halves[1] + bias, activation), expected, allowed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("parts", [2, 8, 32])
@pytest.mark.parametrize("inputs", [1024, 14336])
def test_parts_that_are_added_up_in_the_short_format_are_no_fault(dtype: torch.dtype, parts: int, inputs: int) -> None:
    """As cuBLAS may: every part rounded, the sum rounded after each, the bias added and rounded again."""
    asked = problem(dtype=dtype, rows=64, outputs=256, inputs=inputs)
    packed = pack(unpack(weight(256, inputs)).to(dtype))
    x = torch.randn(64, inputs, generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(256, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, allowed = reference(asked, packed, x, bias)
    total = torch.zeros(64, 256, dtype=dtype)
    for k in torch.arange(inputs).chunk(parts):
        total += functional.linear(x[:, k].float(), unpack(packed)[:, k].float()).to(dtype)
    assert agrees(total + bias, expected, allowed)


def test_a_long_sum_in_float32_is_no_fault() -> None:
    asked = problem(dtype=torch.float32, rows=64, outputs=64, inputs=14336)
    packed = pack(unpack(weight(64, 14336), torch.float32))
    x = torch.randn(64, 14336, generator=torch.Generator().manual_seed(1))
    expected, allowed = reference(asked, packed, x, None)
    total = torch.zeros(64, 64)
    for k in torch.arange(14336).chunk(1792):
        total += functional.linear(x[:, k], unpack(packed)[:, k])
    assert agrees(total, expected, allowed)
    assert not agrees(total * 1.0001, expected, allowed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("fault", ["scaled", "a group missing", "bias twice", "another activation"])
def test_small_faults_are_seen_in_long_sums(dtype: torch.dtype, activation: str, fault: str) -> None:
    asked = problem(dtype=dtype, rows=16, outputs=256, inputs=4096, activation=activation)
    dense = (unpack(weight(256, 4096)).float() / 45).to(dtype).float()  # results of the size of 1
    x = torch.randn(16, 4096, generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(256, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, allowed = reference(asked, pack(dense.to(dtype)), x, bias)
    if fault == "a group missing":
        dense[:, 64:68] = 0
    y = functional.linear(x.float(), dense, bias.float() * (2 if fault == "bias twice" else 1))
    y = torch.relu(y) if fault == "another activation" else activate(y, activation)
    assert not agrees((y * (1.02 if fault == "scaled" else 1)).to(dtype), expected, allowed)


def test_of_many_rows_some_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of 16 rows that is wrong, and one column of tiles, and a result that is too short by rows that are not."""

    def tile(y: Tensor) -> Tensor:
        return y.index_fill(0, torch.arange(480, 496), 0.0)

    def every_eighth(y: Tensor) -> Tensor:
        return y.index_fill(0, torch.arange(5, 1000, 8), 0.0)

    monkeypatch.setattr(trials_module, "VERIFIED_ROWS", 150)
    largest: list[int] = []

    def watched(asked: Problem, packed: Packed, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        largest.append(len(x))
        return reference(asked, packed, x, bias)

    monkeypatch.setattr(trials_module, "reference", watched)
    for spoil, refused in ((tile, True), (every_eighth, True), (lambda y: y[:-1], True), (lambda y: y, False)):
        found = try_all(problem(rows=1000), weight(), (Dense(), Pretended(spoil=spoil)), Scripted([1.0, 0.1]), CPU)
        assert (found[-1].refused == "its result was wrong") is refused
    assert set(largest) == {150}


def test_dense_is_the_measure_and_is_not_judged() -> None:
    @dataclass(frozen=True)
    class Coarse(Dense):
        def run(self, *args: Any) -> Tensor:
            return super().run(*args) * 1.5

    found = try_all(problem(), weight(), (Coarse(), Pretended()), Scripted([1.0, 0.1]), CPU)
    assert [(t.kernel, t.seconds) for t in found] == [("dense", 1.0), ("pretended", 0.1)]


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
    assert choice.why.startswith("MI300X is no GPU of NVIDIA's")


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


# ----------------------------------------------------------------------------------------------------- the table
ABOUT = {"device": "Test GPU", "version": 1}


def test_a_table_is_read_by_the_next_process(tmp_path: Path) -> None:
    found = [Trial("dense", {}, 1e-6), Trial("mma.sp", {"TN": 2}, None, "it failed: x")]
    Table(tmp_path / "t.json", ABOUT).keep("key", found)
    assert Table(tmp_path / "t.json", ABOUT).find("key") == tuple(found)
    assert Table(tmp_path / "t.json", ABOUT).find("other") is None


def test_two_processes_keep_both_their_findings(tmp_path: Path) -> None:
    first, second = (Table(tmp_path / "t.json", ABOUT) for _ in range(2))
    assert first.find("a") is second.find("b") is None
    first.keep("a", [Trial("dense", {}, 1.0)])
    second.keep("b", [Trial("dense", {}, 2.0)])
    together = Table(tmp_path / "t.json", ABOUT)
    assert together.find("a") and together.find("b")


def test_times_of_another_device_or_version_are_not_read(tmp_path: Path) -> None:
    Table(tmp_path / "t.json", ABOUT).keep("key", [Trial("dense", {}, 1.0)])
    assert Table(tmp_path / "t.json", ABOUT | {"version": 2}).find("key") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"about": 1}',
        '{"entries": {}}',
        "\x00",
        json.dumps({"about": ABOUT, "entries": {"key": [{"kernel": "x"}]}}),
        json.dumps({"about": ABOUT, "entries": {"key": 3}}),
        "[" * 100_000,
    ],
)
def test_a_damaged_table_is_measured_again(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    table = Table(path, ABOUT)
    assert table.find("key") is None
    table.keep("key", [Trial("dense", {}, 1.0)])
    assert Table(path, ABOUT).find("key") == (Trial("dense", {}, 1.0),)


def test_a_table_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    table = Table(tmp_path / "file" / "t.json", ABOUT)
    table.keep("key", [Trial("dense", {}, 1.0)])
    assert table.find("key") == (Trial("dense", {}, 1.0),)


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
