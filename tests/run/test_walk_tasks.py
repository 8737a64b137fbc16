"""Recipes of another task, of a user's own data, and what of a task decides a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import recipelang
from recipelang.errors import RecipeError, StepFailed
from recipelang.run import measurer
from recipelang.runtimes.onnx_program import as_bytes, onnx_program
from recipelang.surgery import artifact
from recipelang.surgery.deployed import deployed

SMALL = "data digit_sheets(batch=8)\nmodel srresnet(blocks=2, filters=4)\ntrain for 1 epochs\n"
ENLARGE = "task superresolution\n" + SMALL
EVERY_VERB = (
    ENLARGE
    + """
measure psnr, ssim, flops, params, size, sparsity
keep as before
prune 1 layers by magnitude while psnr drop < 90dB
recalibrate on train(samples=16)
variant a {
  prune 20% filters by taylor
  distill from healthy for 1 epochs with 0.5 * kd + fitnet
}
variant b {
  sparsify nm 2:4 by wanda on train(samples=16)
  distill from healthy, recovered for 1 epochs with mis
  accelerate
}
sweep rate in 1e-3, 2e-3 {
  sparsify nm 2:4 by sparsegpt on train(samples=16)
  finetune for 1 epochs with adam(lr=$rate)
}
choose by psnr
repeat 2 times { finetune for 1 epochs }
export safetensors, pt2
expect psnr > 0dB and ssim drop < 0.9
"""
)


@pytest.fixture(scope="module")
def enlarged(lab: Any) -> Any:
    return lab.run(EVERY_VERB)


def test_every_verb_works_on_super_resolution(enlarged: Any) -> None:
    assert enlarged.code == 0, enlarged.result.failures
    assert {m["name"]: m["unit"] for m in enlarged.result.report["metrics"]}["psnr"] == "dB"
    assert enlarged.removed("healthy") == 0 and enlarged.metric("sparsity", "b") > 0.3
    trained = [step for step in enlarged.steps("healthy", "train") if step["history"]]
    row = trained[0]["history"][0]
    assert set(row) == {"epoch", "loss", "psnr", "lr", "score"} and row["score"] == row["psnr"]
    assert (enlarged.folder / "main" / "export" / "model.pt2").is_file()


def test_the_result_is_a_network_of_its_task(enlarged: Any, tmp_path: Path) -> None:
    folder = enlarged.folder / "main"
    network = artifact.load(folder)
    assert (network.task, network.classes, network.input_shape) == ("superresolution", (), (1, 12, 12))
    model = recipelang.load(folder)
    image = Image.effect_noise((20, 14), 60).convert("L")
    image.save(tmp_path / "noise.png")
    found, same = model.predict([image, tmp_path / "noise.png"])
    assert found.size == (40, 28) and found.mode == "L" and found.tobytes() == same.tobytes()
    with torch.no_grad():
        answer = model(torch.tensor(list(image.tobytes())).view(1, 1, 14, 20) / 255)
    pixels = answer.clamp(0, 1).mul(255).round().to(torch.uint8)
    assert bytes(pixels.flatten().tolist()) == found.tobytes()


LABELS = """
task multilabel
data several_digits(batch=32)
model digits_resnet(width=0.5)
train for 20 steps
measure map, f1(average=macro), loss, flops, size
control
prune 1 layers by taylor on train(samples=64) while map drop < 100%
variant a {
  prune filters by snip on train(samples=32) until flops < 0.8
  recalibrate on train(samples=32)
  distill from healthy for 2 steps with kd + fitnet, mixup, cutmix
}
variant b {
  finetune for 2 steps
  sparsify nm 2:4 by wanda on train(samples=32)
  distill from healthy, recovered for 2 steps with mis
}
variant c {
  quantize weights, activations to 8 bits by minmax on train(samples=32)
  finetune for 2 steps
}
choose by map
finetune for 2 steps
export safetensors
expect map > 1% and f1 drop < 99%
"""


@pytest.fixture(scope="module")
def several(lab: Any) -> Any:
    return lab.run(LABELS)


def test_every_verb_works_on_several_labels(several: Any, tmp_path: Path) -> None:
    assert several.code == 0, several.result.failures
    assert {m["name"]: m["unit"] for m in several.result.report["metrics"]}["map"] == "%"
    trained = [step for step in several.steps("healthy", "train") if step["history"]]
    assert "sample_f1" in trained[0]["history"][0]
    note = several.steps("healthy", "data")[0]["note"]
    assert note.startswith("10 labels: 1617 train, 177 val, 177 test")
    folder = several.folder / "main"
    network = artifact.load(folder)
    assert (network.task, network.classes) == ("multilabel", tuple("0123456789"))
    model = recipelang.load(folder)
    image = Image.effect_noise((16, 16), 60).convert("L")
    (found,) = model.predict(image)
    scores = model(torch.tensor(list(image.tobytes())).view(1, 1, 16, 16).div(255).sub(0.153).div(0.307))[0]
    chances = dict(zip(network.classes, scores.sigmoid().tolist(), strict=True))
    assert found.probabilities == pytest.approx(chances, abs=1e-4)
    likely = sorted((name for name in chances if chances[name] > 0.5), key=lambda name: -chances[name])
    assert found.names == tuple(likely)


def test_a_network_of_another_task_is_refused(enlarged: Any, lab: Any) -> None:
    folder = enlarged.folder / "main"
    with pytest.raises(StepFailed) as failed:
        lab.run(f'data digits\nmodel artifact("{folder}")\nfinetune for 1 epochs')
    assert failed.value.diagnostics[0].code in ("RCP0841", "RCP0713")
    again = lab.run(f'task superresolution\ndata digit_sheets\nmodel artifact("{folder}")\nmeasure psnr')
    assert again.code == 0 and again.metric("psnr") == pytest.approx(enlarged.metric("psnr"))


def test_a_network_for_another_scale_is_refused_before_training(lab: Any) -> None:
    with pytest.raises(StepFailed) as failed:
        lab.run("task superresolution(2)\ndata digit_sheets\nmodel srresnet(scale=3, filters=4)\ntrain for 1 epochs")
    assert failed.value.diagnostics[0].code == "RCP0840"
    with pytest.raises(RecipeError) as wrong:
        lab.checked("task superresolution(scale=3)\ndata digit_sheets(scale=2)\nmodel srresnet\ntrain for 1 epochs")
    assert [d.code for d in wrong.value.diagnostics] == ["RCP0439"]


def test_without_model_and_data_the_task_has_its_own(lab: Any) -> None:
    plan = lab.checked("task superresolution\nprune 1 layers by taylor")
    texts = [node.text for node in plan.nodes]
    assert texts[:2] == ["data digit_sheets", "model srresnet"] and "adam" in texts[2]


def test_mis_has_the_papers_weights_for_each_task(lab: Any) -> None:
    tail = "sparsify nm 2:4\ndistill from healthy, recovered with mis{}"
    for task, given, weights in (
        ("classification", "", (1, 10, 50)),
        ("superresolution", "", (1, 1.5, 3)),
        ("superresolution", "(gamma=0)", (1, 1.5, 0)),
    ):
        plan = lab.checked(f"task {task}\n{tail.format(given)}")
        (term,) = plan.nodes[-1].operation.training.losses
        assert (term.loss.alpha, term.loss.beta, term.loss.gamma) == weights
    with pytest.raises(RecipeError) as wrong:
        lab.checked("task superresolution\nprune 1 layers by taylor\ndistill from healthy with kd(T=2)")
    assert [d.code for d in wrong.value.diagnostics] == ["RCP0307"]


def test_a_task_decides_what_it_trains_and_nothing_else(apart: Any) -> None:
    text = "task classification{}\ndata digits\nmodel digits_resnet\ntrain for 1 epochs\nsparsify nm 2:4 by magnitude"
    assert apart.run(text.format("")).made == 3
    assert apart.run(text.format("(smoothing=0)")).made == 0
    assert apart.run(text.removeprefix("task classification{}\n").format("")).made == 0, "as it is by default"
    assert apart.run(text.format("(smoothing=0.2)")).made == 2, "the training and what follows, not the model"


def test_one_pass_serves_every_metric_of_a_split(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[list[str]] = []
    take = measurer.take
    monkeypatch.setattr(
        measurer, "take", lambda metrics, *a, **k: (passes.append([m.name for m in metrics]), take(metrics, *a, **k))[1]
    )
    apart.run("data digits\nmodel digits_resnet\ntrain for 1 epochs\nmeasure top1, top5, loss\nfinetune for 1 epochs")
    assert passes == [["top1", "top5", "loss"]] * 2


OWN = """
import torch
from torch.utils.data import TensorDataset
def build(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(60) % 3
    inputs = torch.rand(60, 1, 8, 8, generator=generator) + labels[:, None, None, None]
    return TensorDataset(inputs, labels)
"""


def test_data_of_own_code_trains_and_a_change_is_noticed(apart: Any) -> None:
    (apart.folder / "data.py").write_text(OWN)
    text = 'data python("data.py:build", batch=8{})\nmodel digits_resnet\ntrain for 1 epochs\nmeasure top1'
    options = {"trust": True, "resolve": lambda name: apart.folder / name}
    first = apart.run(text.format(""), **options)
    assert first.code == 0 and first.made == 2
    assert first.steps("healthy", "data")[0]["note"].startswith("3 classes: 48 train, 6 val, 6 test")
    assert apart.run(text.format(""), **options).made == 0
    assert apart.run(text.format(", seed=1"), **options).made == 1, "another division"
    (apart.folder / "data.py").write_text(OWN.replace("generator = ", "generator  = "))
    assert apart.run(text.format(""), **options).made == 1
    with pytest.raises(StepFailed) as failed:
        apart.run(text.format(""), resolve=options["resolve"])
    assert failed.value.diagnostics[0].code == "RCP0711"


def test_own_data_may_be_vectors(apart: Any) -> None:
    """Example inputs follow the data: nothing assumes images."""
    (apart.folder / "data.py").write_text(
        OWN.replace("rand(60, 1, 8, 8", "rand(60, 5").replace("[:, None, None, None]", "[:, None]")
    )
    (apart.folder / "net.py").write_text(
        "from torch import nn\ndef build(classes):\n"
        "    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes))\n"
    )
    done = apart.run(
        'data python("data.py:build", batch=8)\nmodel python("net.py:build")\ntrain for 1 epochs\n'
        "measure top1, flops, latency\nsparsify nm 2:4\nfinetune for 1 epochs\nexport pt2",
        trust=True,
        resolve=lambda name: apart.folder / name,
    )
    assert done.code == 0 and done.metric("sparsity" if "sparsity" in done.variant()["metrics"] else "flops") > 0
    assert artifact.load(done.folder / "main", trust=True).input_shape == (5,)


def test_a_metric_that_refuses_does_not_stop_the_others(apart: Any) -> None:
    (apart.folder / "data.py").write_text(OWN)
    done = apart.run(
        'data python("data.py:build", batch=8)\nmodel digits_resnet\ntrain for 1 epochs\nkeep as one\nmeasure top1\n'
        "finetune for 1 epochs\nexpect top1 > 0%\nexpect loss > 0",
        trust=True,
        resolve=lambda name: apart.folder / name,
    )
    assert done.code == 0
    text = 'data python("data.py:build", batch=8)\nmodel digits_resnet\ntrain for 1 epochs\nexpect {} and {}'
    for first, second in (("top5 > 0%", "top1 > 0%"), ("top1 > 0%", "top5 > 0%")):
        failed = apart.run(text.format(first, second), trust=True, resolve=lambda name: apart.folder / name)
        assert failed.code == 4 and "`top5` needs 5 classes" in str(failed.result.report["expectations"])


def test_another_data_set_is_measured_whole(lab: Any) -> None:
    done = lab.run(ENLARGE + "data digit_sheets(scale=2, batch=5, augment=none) as plain\nmeasure psnr on plain, val")
    assert done.code == 0 and done.metric("psnr on plain") > 0
    with pytest.raises(RecipeError) as wrong:
        lab.checked(ENLARGE + "data digits as plain\nmeasure psnr on plain")
    assert "RCP0438" in {d.code for d in wrong.value.diagnostics}
    with pytest.raises(RecipeError) as wrong:
        lab.checked(ENLARGE + "data digit_sheets(scale=4) as plain\nmeasure psnr on plain")
    assert "RCP0439" in {d.code for d in wrong.value.diagnostics}


def test_exports_of_networks_that_give_images_take_any_size(enlarged: Any) -> None:
    model = recipelang.load(enlarged.folder / "main")
    program = torch.export.load(enlarged.folder / "main" / "export" / "model.pt2").module()
    for shape in ((1, 1, 12, 12), (2, 1, 9, 31)):
        images = torch.rand(shape)
        with torch.no_grad():
            assert torch.allclose(program(images), model(images), atol=1e-5)


def test_an_onnx_program_takes_any_size(enlarged: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = artifact.load(enlarged.folder / "main")
    session = onnxruntime.InferenceSession(as_bytes(onnx_program(network)))
    images = torch.rand(2, 1, 9, 31)
    with torch.no_grad():
        wanted = deployed(network)(images)
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert torch.allclose(torch.from_numpy(found), wanted, atol=1e-5)
