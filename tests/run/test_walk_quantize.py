"""`quantize` in whole runs: evaluation, training after it, several statements, the store, artifacts and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import recipelang
from recipelang.errors import RecipeError, StepFailed
from recipelang.kinds import Figure
from recipelang.kinds.figure import words
from recipelang.methods.data.digits import Digits
from recipelang.methods.metrics.latency import Latency
from recipelang.run.states import architecture
from recipelang.runtimes.eager import prepare
from recipelang.surgery import artifact
from recipelang.surgery.restricting import INPUT, broken
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.simulated import running

HEAD = "model digits_resnet\ndata digits\nmeasure top1, size\n"
TRAINED = HEAD + "train for 2 epochs with sgd(lr=cosine(0.1, to=0), momentum=0.9)\n"
BOTH = "quantize weights, activations to 8 bits by minmax on train(samples=256)\n"


def grids(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "surgery.json").read_text())["restrictions"]


def test_the_quantized_network_is_evaluated_counted_and_reported(lab: Any) -> None:
    done = lab.run(TRAINED + BOTH, smoke=False)
    main = done.variant()
    (step,) = done.steps(verb="quantize")
    told = words(tuple(Figure(**figure) for figure in step["reached"]))
    assert told == "22 weights have 8 bits and 32 activations have 8 bits"
    alone = lab.plan(TRAINED + 'quantize weights, activations to 8 bits in "conv1"\n')
    assert "1 weight has 8 bits and 1 activation has 8 bits" in alone.text()
    assert 0.25 < main["metrics"]["size"]["ratio"] < 0.32
    assert abs(main["metrics"]["top1"]["value"] - main["metrics"]["top1"]["healthy"]) < 0.03
    assert {row["executes"] for row in main["layers"]} == {"8 bits simulated"}
    assert {row["why"] for row in main["layers"]} == {"torch computes it in floating point"}
    network = artifact.load(done.folder / "main")
    images, labels = next(iter(Digits().open(Path).batches("test", batch=400)))
    with torch.no_grad():
        answers = running(network).eval()(images)
        plain = network.module.eval()(images)
    assert float((answers.argmax(1) == labels).float().mean()) == pytest.approx(main["metrics"]["top1"]["value"])
    assert not torch.equal(answers, plain)
    with torch.no_grad():
        assert torch.equal(recipelang.load(done.folder / "main")(images), answers)


def test_few_bits_hurt_and_training_after_them_repairs(lab: Any) -> None:
    few = "quantize weights to 2 bits\nquantize activations to 3 bits on train(samples=256)\n"
    hurt = lab.run(TRAINED + few, smoke=False)
    tuned = lab.run(
        TRAINED + few + "finetune for 2 epochs with sgd(lr=cosine(2e-2, to=0), momentum=0.9)\n", smoke=False
    )
    plain = lab.run(TRAINED, smoke=False)
    assert hurt.metric("top1") < plain.metric("top1") - 0.2
    assert tuned.metric("top1") > hurt.metric("top1") + 0.2
    before, after = (load_file(run.folder / "main" / "restrictions.safetensors") for run in (hurt, tuned))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert hurt.weights() != tuned.weights()


def test_a_quantizer_that_learns_is_trained_along_wherever_the_network_goes(lab: Any) -> None:
    training = "distill from healthy for 2 steps with 0.7 * apprentice + 0.3 * task, sgd(lr=0.05)"
    few = "quantize weights, activations to 4 bits by lsq on train(samples=64)\n"
    start = lab.run(HEAD + few)
    tuned = lab.run(HEAD + few + training + "\n")
    later = f'model artifact("{tuned.folder / "main"}")\ndata digits\nmeasure top1\nfinetune for 2 steps\n'
    ends = [run.folder / "main" for run in (start, tuned, lab.run(later))]
    steps = [load_file(end / "restrictions.safetensors") for end in ends]
    for before, after in zip(steps, steps[1:], strict=False):
        assert before.keys() == after.keys()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        scales = {name for name in before if name.endswith(".scale")}
        assert moved <= scales and len(moved) > 0.9 * len(scales), "a step that nothing depends on may stay"
    for end in ends:
        assert {one["trained"] for each in grids(end).values() for one in each} == {"lsq"}


def test_statements_add_up_and_replace_each_other(lab: Any) -> None:
    text = HEAD + 'quantize weights to 8 bits except last\nquantize weights to 4 bits in "layer1.*"\n'
    done = lab.run(text)
    bits = {place: one["bits"] for place, (one,) in grids(done.folder / "main").items()}
    assert bits["conv1.weight"] == bits["layer2.0.conv1.weight"] == 8 and bits["layer1.0.conv1.weight"] == 4
    assert "linear.weight" not in bits and len(bits) == 21
    rows = {row["layer"]: row["executes"] for row in done.variant()["layers"]}
    assert (rows["conv1"], rows["layer1.0.conv1"], rows["linear"]) == ("8 bits simulated", "4 bits simulated", "dense")


def test_masks_stay_under_grids_and_through_training(lab: Any) -> None:
    done = lab.run(HEAD + "sparsify nm 2:4\n" + BOTH + "finetune for 2 steps\n")
    network = artifact.load(done.folder / "main")
    assert len(network.masks) == 21 and not broken(network)
    for name, mask in network.masks.items():
        kinds = [one.kind for one in network.restrictions[name]]
        assert kinds == ["mask", "grid"]
        grid = next(one for one in network.restrictions[name] if isinstance(one, Grid))
        rounded = grid.apply(network.module.get_parameter(name))
        assert not rounded[~mask.keep].any()


def test_the_store_never_takes_a_quantized_network_for_its_origin(apart: Any) -> None:
    text = HEAD.replace("top1", "loss")
    plain = apart.run(text)
    done = apart.run(text + "quantize weights to 2 bits\n")
    assert done.made == 1 and done.metric("loss") != plain.metric("loss")
    assert done.metric("loss") != done.variant()["metrics"]["loss"]["healthy"] == plain.metric("loss")
    again = apart.run(text + "quantize weights to 2 bits  # the same\n")
    assert again.made == 0 and again.metric("loss") == done.metric("loss")
    other = apart.run(text + "quantize weights to 3 bits\n")
    assert other.made == 1 and other.metric("loss") != done.metric("loss")


def test_recovered_is_the_network_before_all_of_them(lab: Any) -> None:
    text = HEAD + "quantize weights to 8 bits\nquantize activations to 8 bits on train(samples=64)\n"
    done = lab.run(text + "expect recovered.top1 >= healthy.top1 and recovered.top1 <= healthy.top1\n")
    assert done.verdicts == [("main", True)], "the two are one network here"
    assert lab.run(text + "distill from recovered for 1 steps with kd\n").code == 0


def test_surgery_after_it_keeps_the_other_grids(lab: Any) -> None:
    done = lab.run(HEAD + BOTH + "prune 2 layers by magnitude\nrecalibrate on train(samples=64)\n")
    assert done.code == 0 and done.removed() == 2
    network = artifact.load(done.folder / "main")
    gone = [edit.name for edit in network.edits]  # type: ignore[attr-defined]
    assert not any(place.startswith(name) for place in network.restrictions for name in gone)
    assert len(network.restrictions) == 54 - sum(2 + 3 for _ in gone)


def test_what_a_plan_says_and_what_it_refuses(lab: Any, find_row: Any) -> None:
    report = lab.plan(HEAD + "quantize weights, activations to 8 bits except first, last\n")
    row = find_row(report, "quantize")
    assert "20 weights have 8 bits and 30 activations have 8 bits" in str(row.details)
    with pytest.raises(StepFailed) as failed:
        lab.run(HEAD + 'quantize weights to 8 bits in "bn1"\n')
    assert failed.value.diagnostics[0].code == "RCP1403"
    with pytest.raises(RecipeError) as failed:
        lab.run(HEAD + 'quantize weights to 8 bits in "layer7.*"\n')
    assert failed.value.diagnostics[0].code == "RCP0703"


def test_the_time_of_a_simulation_is_said_to_be_none(lab: Any) -> None:
    network = artifact.load(lab.run(HEAD + "quantize weights to 8 bits\n").folder / "main")
    coarse, healthy = prepare(network), prepare(replace(network, restrictions={}))
    clock = Latency()
    assert "of the simulation" in clock.glance(coarse, healthy, network.input_shape).note
    assert clock.glance(healthy, healthy, network.input_shape).note == ""
    assert {row.executes for row in coarse.execution()} == {"8 bits simulated"}
    assert architecture(network) != architecture(healthy.network)


def test_a_criterion_that_changes_what_enters_weights_says_that_grids_are_in_its_way(lab: Any) -> None:
    done = lab.run(HEAD + "quantize weights to 8 bits\nprune filters by gaussian(steps=1) until params < 0.9\n")
    error = done.variant()["error"]
    assert error["code"] == "RCP1007" and "quantized" in error["message"]
    assert error["help"].startswith("write `prune` before `quantize`")


def test_images_made_from_the_network_stand_in_place_of_data(lab: Any) -> None:
    done = lab.run(TRAINED + "quantize weights, activations to 8 bits on zeroq(samples=16, steps=20)\n", smoke=False)
    main = done.variant()
    (step,) = done.steps(verb="quantize")
    assert "`zeroq` made 16 samples: distance to the statistics" in step["note"]
    assert abs(main["metrics"]["top1"]["value"] - main["metrics"]["top1"]["healthy"]) < 0.05


def test_dfq_quantizes_activations_without_data(lab: Any) -> None:
    done = lab.run(TRAINED + "quantize weights, activations to 8 bits by dfq\n", smoke=False)
    main = done.variant()
    network = artifact.load(done.folder / "main")
    (one,) = network.restrictions[INPUT]
    preprocessing = network.preprocessing
    assert isinstance(one, Grid) and preprocessing is not None
    (low, high), (mean, std) = one.ends, (preprocessing.mean[0], preprocessing.std[0])
    step = float(one.scale)
    assert [float(low), float(high)] == pytest.approx([-mean / std, (1 - mean) / std], abs=step), "images are in 0…1"
    assert abs(main["metrics"]["top1"]["value"] - main["metrics"]["top1"]["healthy"]) < 0.05
