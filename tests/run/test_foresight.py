"""What a plan says about time, and what a failed export leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipelang.errors import Refusal, StepFailed
from recipelang.kinds import Measurement, Quiet
from recipelang.measuring import machine
from recipelang.methods.metrics.latency import Latency
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.plan import steps_of
from recipelang.run import foresight, planning, remembered, timing
from recipelang.run.remembered import Remembered
from recipelang.run.timing import Times

HEAD = "model digits_resnet\ndata digits\nmeasure top1\n"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one test remembers, another does not find."""
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def seconds(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The rough time of a last line, one second for an image."""
    monkeypatch.setattr(Times, "seconds_per_image", lambda self, network: 1.0)

    def read(line: str) -> float:
        estimate = estimated(lab, line)
        assert estimate.guess == (estimate.seconds > 0)
        return float(estimate.seconds)

    return read


def estimated(lab: Any, line: str, **options: Any) -> Any:
    """What is said of the time of a last line."""
    plan = lab.checked(HEAD + line + "\n")
    operation = list(steps_of(plan.nodes))[-1].operation
    network, data = network_and_data(lab)
    return Times(lab.options(smoke=False, **options)).of(operation, network, data)


def network_and_data(lab: Any) -> tuple[Any, Any]:
    from recipelang.kinds import ModelRequest
    from recipelang.methods.data.digits import Digits
    from recipelang.methods.models.digits_resnet import DigitsResNet

    data = Digits().open(lambda path: path)
    return DigitsResNet().build(ModelRequest(data.classes, data.input_shape)), data


def test_a_plan_counts_the_images_that_a_criterion_looks_at(seconds: Any) -> None:
    assert seconds("sparsify nm 2:4 by magnitude") == 0
    assert seconds("sparsify nm 2:4 by wanda on train(samples=64)") == 64
    assert seconds("sparsify nm 2:4 by taylor on train(samples=64)") == 3 * 64
    assert seconds("sparsify nm 2:4 by sparsegpt on train(samples=64)") == 64 * 22 / 2  # weights
    assert seconds("sparsify nm 2:4 by wanda") == 1079
    assert seconds("prune 1 layers by imprint") == 1079 + 359


def test_a_training_is_timed_by_a_few_steps_of_it_and_remembered(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STEP_SECONDS", 1e9)
    monkeypatch.setattr(remembered, "MOST_SECONDS", 1e9)
    monkeypatch.setattr(remembered, "busy", lambda: False)
    steps: list[int] = []
    fit = timing.fit

    def counted(*args: Any, **how: Any) -> Any:
        ended = fit(*args, **how)
        steps.append(ended[1].steps)
        return ended

    monkeypatch.setattr(timing, "fit", counted)
    one = estimated(lab, "train for 1 epochs")
    assert not one.guess
    three = estimated(lab, "train for 3 epochs")
    assert three.seconds == pytest.approx(3 * one.seconds), "remembered"
    data = network_and_data(lab)[1]
    per_epoch = data.size("train") // data.batch
    assert estimated(lab, "train for 17 steps").seconds == pytest.approx(one.seconds / per_epoch * 17)
    assert steps == [timing.STEPS]
    estimated(lab, "train for 1 epochs", threads=2)
    estimated(lab, "train for 1 epochs with adam")
    assert len(steps) == 3, "a different number of threads and a different optimizer are timed separately"


def test_a_distillation_is_timed_with_its_own_teachers(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STEP_SECONDS", 1e9)
    monkeypatch.setattr(remembered, "MOST_SECONDS", 1e9)
    monkeypatch.setattr(remembered, "busy", lambda: False)
    sizes: list[list[int]] = []
    fit = timing.fit

    def looked(*args: Any, **how: Any) -> Any:
        sizes.append([sum(p.numel() for p in teacher.network.module.parameters()) for teacher in how["teachers"]])
        return fit(*args, **how)

    monkeypatch.setattr(timing, "fit", looked)
    plan = lab.checked(HEAD + "keep as a\ndistill from healthy, a for 1 epochs with at + task\n")
    operation = list(steps_of(plan.nodes))[-1].operation
    network, data = network_and_data(lab)
    other = cifar_resnet(8, channels=1)
    teacher = replace(network, module=other.eval())
    known = {"healthy": network, "a": teacher}.get
    times = Times(lab.options(smoke=False))
    assert times.of(operation, network, data, known) is not None
    assert sizes == [[sum(p.numel() for p in module.parameters()) for module in (network.module, other)]]


def test_a_time_taken_while_the_machine_was_busy_is_taken_again(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def measure() -> dict[str, float]:
        looks.append(1.0)
        return {"seconds": 1.0}

    for loaded, taken in ((True, 1), (True, 1), (False, 2), (False, 2), (True, 2)):
        monkeypatch.setattr(remembered, "busy", lambda loaded=loaded: loaded)
        assert Remembered(Quiet()).numbers({"of": "x"}, measure, timing.TRAINING) is not None
        assert len(looks) == taken


def test_a_step_that_takes_long_is_guessed_and_said_to_be(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STEP_SECONDS", 0.0)
    assert estimated(lab, "train for 1 epochs").guess
    plan = planning.make(lab.checked(HEAD + "train for 1 epochs"), lab.options(smoke=False, out=lab.folder / "none"))
    assert " (a guess)" in plan.text()
    assert ", partly a guess" in plan.text()
    assert [row.guess for row in plan.rows if row.text.startswith("train")] == [True]


@pytest.mark.parametrize("damage", ["[]", "null", '{"seconds": "1"}', '{"seconds": -1}', '{"seconds": 1e999}', "["])
def test_a_damaged_memory_of_times_costs_a_measurement(lab: Any, tmp_path: Path, damage: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(timing, "STEP_SECONDS", 1e9)
    estimated(lab, "train for 1 epochs")
    for place in (tmp_path / "cache/times").iterdir():
        place.write_text(damage)
    assert estimated(lab, "train for 1 epochs").seconds > 0


def test_the_reach_of_a_clock_is_measured_on_the_emptied_network(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def glance(self: Any, deployed: Any, healthy: Any, shape: Any) -> Measurement:
        ratio = sum(p.numel() for p in deployed.module.parameters()) / sum(
            p.numel() for p in healthy.module.parameters()
        )
        assert ratio < 0.15, "every removable layer is gone"
        return Measurement(2e-4, 1.9e-4, 2.1e-4, ratio=0.2, ratio_low=0.19, ratio_high=0.21)

    monkeypatch.setattr(Latency, "glance", glance)
    text = HEAD + "prune layers by random until latency < {}\n"
    near = lab.plan(text.format("0.16"))
    assert not near.problems, "a short look does not refuse what is near"
    assert any("latency can reach 0.200× (now 1.000×, measured briefly)" in d for row in near.rows for d in row.details)
    far = lab.plan(text.format("0.01"))
    assert [problem.code for problem in far.problems] == ["RCP0904"]
    assert "latency can reach 0.200×" in far.problems[0].message
    assert [p.code for p in lab.plan(text.format("0.01 ms")).problems] == ["RCP0904"]
    assert not lab.plan(text.format("0.19 ms")).problems
    assert not lab.plan(HEAD + "prune layers by random until latency < 0.01 or params < 0.9\n").problems


def test_where_no_clock_may_look_the_reach_is_an_estimate(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "CALL_SECONDS", 0.0)
    plan = lab.plan(HEAD + "prune layers by random until latency < 0.01\n")
    assert not plan.problems
    assert any("an estimate from FLOPs" in detail for row in plan.rows for detail in row.details)


def test_the_default_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 6)
    for asked, threads in (("3", 3), ("2,4", 2), ("", 6), ("0", 6), ("-1", 6), ("many", 6), ("9" * 50, 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        monkeypatch.setattr(machine, "_quota", lambda: None)
        assert machine.default_threads() == threads, asked
    monkeypatch.delenv("OMP_NUM_THREADS")
    for quota, threads in ((1.5, 2), (0.2, 1), (64.0, 6)):
        monkeypatch.setattr(machine, "_quota", lambda quota=quota: quota)
        assert machine.default_threads() == threads


def test_threads_of_the_command_line_wait_without_spinning() -> None:
    script = (
        "import os, recipelang.cli as cli\n"
        "try: cli.main(['list'])\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    for given, kept in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        surroundings = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        surroundings |= {"OMP_WAIT_POLICY": given} if given else {}
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=surroundings)
        assert ended.stdout.split()[-1] == kept


def test_a_variant_whose_export_fails_keeps_its_numbers(lab: Any) -> None:
    done = lab.run(
        HEAD + "variant a { sparsify nm 2:4 }\nvariant b { sparsify nm 4:8 }\nexport safetensors(packed=true)\n"
    )
    assert done.code == 3
    broken = done.variant("b")
    assert broken["error"]["code"] == "RCP1301"
    assert broken["metrics"]["top1"]["value"] == done.metric("top1", "b")
    assert broken["layers"] and broken["runs"][0]["folder"] == "b"
    assert not (done.folder / "b" / "export").exists()
    assert (done.folder / "a" / "export" / "model.safetensors").exists()


def test_a_plan_holds_schedules_in_epochs_against_trainings_in_steps(lab: Any) -> None:
    """1079 training images in batches of 64 are 16 steps an epoch."""
    _, data = network_and_data(lab)
    assert data.size("train") // data.batch == 16

    def told(text: str) -> str:
        *_, step = steps_of(lab.checked(HEAD + text).nodes)
        try:
            foresight.fit_schedules(step.operation.needs(), data)
        except Refusal as refusal:
            return refusal.message
        return ""

    assert told("train for 33 steps with sgd(lr=multistep(0.1, at=[2]))") == ""
    assert told("train for 32 steps with sgd(lr=multistep(0.1, at=[2]))") == (
        "epoch 2 of `at` is never reached: the training lasts 32 steps (an epoch is 16 steps)"
    )
    rounds = "prune 1 layers by imprint over 4 rounds for @ steps with sgd(lr=multistep(1, at=[1]))"
    assert "never reached" in told(rounds.replace("@", "64"))
    assert told(rounds.replace("@", "68")) == ""
    assert "warm-up" in told("train for 1 epochs on train(samples=128) with sgd(lr=cosine(0.1, warmup=2 steps))")


@pytest.mark.parametrize(("norm", "fails"), [("nn.BatchNorm2d(4)", False), ("nn.GroupNorm(2, 4)", True)])
def test_a_plan_says_that_there_is_nothing_to_recalibrate(
    norm: str, fails: bool, lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layers = f"nn.Conv2d(1, 4, 3), {norm}, nn.Flatten(), nn.Linear(144, 10)"
    (tmp_path / "net.py").write_text(f"from torch import nn\n\ndef build():\n    return nn.Sequential({layers})\n")
    text = 'model python("net.py:build")\ndata digits\nrecalibrate\nmeasure top1\n'
    if not fails:
        assert not lab.plan(text, trust=True).problems
        return
    with pytest.raises(StepFailed) as caught:
        lab.plan(text, trust=True)
    (problem,) = caught.value.diagnostics
    assert problem.code == "RCP0813" and problem.span and problem.span.line == 3


def test_kept_answers_are_asked_for_once_and_peers_train_along(seconds: Any, lab: Any) -> None:
    data = network_and_data(lab)[1]
    epoch = data.size("train") // data.batch * data.batch  # every sample that a step sees, one second each
    head = "distill from healthy for 2 epochs with"
    assert seconds(f"{head} kd") == 2 * epoch * (3 + 1)
    assert seconds(f"{head} kd, cached") == pytest.approx(2 * epoch * 3 + data.size("train"))
    assert seconds(
        "train for 1 steps\nkeep as other\ntrain for 1 steps\ndistill from other for 1 epochs with mutual"
    ) == (epoch * (3 + 3))
