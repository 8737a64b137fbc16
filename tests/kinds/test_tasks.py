"""Every task with every metric, loss, criterion, data set and model: what `check` says is what happens.

The catalogue is walked, so a new method of any of these kinds is here at once; a new task needs a line in `BATCHES`.
"""

from __future__ import annotations

import io
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recipelang.catalogue import find, names
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.access import reading
from recipelang.kinds import Batch, ModelRequest, Quiet, names_of, offered
from recipelang.measuring.predictions import measured
from recipelang.plan import Duration, Term, Training
from recipelang.run.tasks import require_target
from recipelang.surgery.tasks import task_named
from recipelang.syntax.parse import parse
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(8, 1, 24, 24, generator=GENERATOR)
#: task → answers and targets of a batch, which need not agree
BATCHES = {
    "classification": Batch(torch.randn(8, 10, generator=GENERATOR), torch.arange(8)),
    "multilabel": Batch(torch.randn(8, 10, generator=GENERATOR), (torch.arange(80) % 3 == 0).float().view(8, 10)),
    "superresolution": Batch((IMAGES + 0.1 * torch.randn(IMAGES.shape, generator=GENERATOR)), IMAGES),
}
TASKS = names("task")
OF_PREDICTIONS = [name for name in names("metric") if find("metric", name).source == "predictions"]  # type: ignore[union-attr]
#: a `data` method → recipe text that opens it in a folder made by `folders`
OPENS = {
    "csv": '"labels.csv", size=8',
    "folder": '"classes", size=8',
    "huggingface": '"classes", size=8',
    "cifar10": '"cifar"',
    "images": '"photos", crop=16',
    "python": '"data.py:build"',
    "torchvision": '"sets", size=8',
    "webdataset": '"shard.tar", size=8',
}
LIBRARIES = {"huggingface": "datasets", "webdataset": "webdataset"}
#: losses of networks that the stand-ins are not; `tests/losses` trains them
OF_ATTENTION = {"deit", "minilm"}
DOTTED = {"torchvision": "torchvision.EuroSAT"}
BESIDE = {
    **{"artifact": '"nowhere"', "given": '"Net"', "huggingface": '"folder"', "onnx": '"net.onnx"'},
    "python": '"net.py:build"',
}
#: data that only a program has, which `tests/api` gives
OF_PROGRAMS = {"given"}


def codes(text: str) -> set[str]:
    """The codes of everything that `check` finds wrong."""
    try:
        check(parse(text, "test.rcp"))
    except RecipeError as error:
        return {diagnostic.code for diagnostic in error.diagnostics}
    return set()


def test_every_task_is_walked() -> None:
    assert set(BATCHES) == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_understands_its_own_answers_and_no_others(task: str) -> None:
    method: Any = task_named(task)
    for other, (answer, targets) in BATCHES.items():
        if task_named(other).form == method.form:
            understood = method.answer(answer.half(), targets if other == task else None)
            assert understood.dtype == torch.float32 and understood.shape == answer.shape
        else:
            with pytest.raises(Refusal) as refusal:
                method.answer(answer)
            assert refusal.value.help and method.gives.split()[-1].rstrip("s") in refusal.value.message
    for raw in (None, 5, [torch.zeros(8, 10)], torch.zeros(8), torch.zeros(8, 10, dtype=torch.int64)):
        with pytest.raises(Refusal):
            method.answer(raw)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_compares_what_it_understands(task: str) -> None:
    method: Any = task_named(task)
    answer, targets = BATCHES[task]
    answer = answer.clone().requires_grad_()
    loss = method.loss(answer, targets)
    apart = method.divergence(answer, torch.flip(answer.detach(), (0,)))
    assert loss.ndim == apart.ndim == 0 and loss.item() > 0 and apart.item() > 0
    for value in (loss, apart):
        (gradient,) = torch.autograd.grad(value, answer)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0
    assert method.divergence(answer, answer.detach()).item() == pytest.approx(0, abs=1e-6)
    made = method.labels(answer)
    assert not made.requires_grad and made.shape == targets.shape and made.dtype == targets.dtype
    name, score = method.score(answer.detach(), targets)
    assert name.isidentifier() and score.ndim == 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("metric", OF_PREDICTIONS)
def test_a_metric_is_refused_exactly_where_it_cannot_measure(task: str, metric: str) -> None:
    found = codes(f"task {task}\nmeasure {metric}")
    try:
        value = measured(find("metric", metric)(), *BATCHES[task], task_named(task)).value  # type: ignore[misc]
        assert np.isfinite(value)
        can = True
    except Refusal:
        can = False
    assert found == (set() if can else {"RCP0437"})
    assert codes(f"task {task}\nprune 1 layers by random while {metric} > 0.5") >= found


@cache
def small(task: str) -> Any:
    """(data, network) of a task, tiny."""
    method: Any = task_named(task)
    data = find("data", method.stand_in[0])(batch=8).open(Path)  # type: ignore[misc]
    settings = {"filters": 4, "blocks": 2} if method.stand_in[1] == "srresnet" else {}
    request = ModelRequest(names_of(data), data.input_shape, task=method, target_shape=data.target_shape)
    torch.manual_seed(0)
    return data, find("model", method.stand_in[1])(**settings).build(request)  # type: ignore[misc]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("loss", names("loss"))
def test_a_loss_that_check_accepts_trains(task: str, loss: str) -> None:
    method: Any = find("loss", loss)
    count = min(method.teachers[1], max(1, method.teachers[0]))
    statement = (
        f"distill from {', '.join(['healthy', 'recovered'][:count])} for 1 steps" if count else "finetune for 1 steps"
    )
    found = codes(f"task {task}\nsparsify nm 2:4\n{statement} with {loss}")
    assert found in (set(), {"RCP0437"})
    if found:
        assert method.tasks and task not in method.tasks
        return
    if loss in OF_ATTENTION:
        pytest.skip("the stand-ins have no self-attention")
    data, network = small(task)
    training = Training(Duration(1, "steps"), find("optimizer", "sgd")(1e-3), (Term(1.0, method()),))  # type: ignore[misc]
    teachers = [Teacher(f"teacher{k}", network) for k in range(count)]
    how: dict[str, Any] = {"seed": 0, "progress": Quiet(), "teachers": teachers, "validate": True}
    _, record = fit(network, data, training, task=task_named(task), **how)
    assert record.steps == 1 and np.isfinite(record.history[0]["loss"])
    seen = record.history[0]["validation"]
    assert np.isfinite([seen["loss"], seen["score"]]).all() and 0 < seen["n"] <= data.size("val")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("criterion", names("criterion"))
def test_a_criterion_that_needs_classes_is_refused_where_there_are_none(task: str, criterion: str) -> None:
    method: Any = find("criterion", criterion)
    tasks = getattr(method, "tasks", ())
    statements = [
        f"prune 1 layers by {criterion}",
        f"prune 10% filters by {criterion}",
        f"sparsify nm 2:4 by {criterion}",
    ]
    found = [codes(f"task {task}\n{statement}") for statement in statements]
    refused = bool(tasks) and task not in tasks
    assert all(("RCP0437" in each) == refused for each in found)
    of_loss = {"gradients", "network"} & set(method.needs)  # which every task has
    assert task_named(task).labelled or refused or "labels" not in method.needs or of_loss


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the data methods open."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for k in range(12):
        pixels = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        for place in (
            f"classes/{'ab'[k % 2]}",
            "photos",
            *(f"cifar/{split}/{'ab'[k % 2]}" for split in ("train", "test")),
            f"sets/eurosat/2750/{'ab'[k % 2]}",
        ):
            (root / place).mkdir(parents=True, exist_ok=True)
            pixels.save(root / place / f"{k}.png")
    rows = "".join(f"photos/{k}.png,{'ab'[k % 2]}\n" for k in range(12))
    (root / "labels.csv").write_text(f"path,label\n{rows}")
    with tarfile.open(root / "shard.tar", "w") as shard:
        for k in range(12):
            shard.add(root / "photos" / f"{k}.png", f"{k:03d}.png")
            label = tarfile.TarInfo(f"{k:03d}.cls")
            label.size = 1
            shard.addfile(label, io.BytesIO(b"ab"[k % 2 : k % 2 + 1]))
    return root


PAIRS = "x = torch.rand(12, 1, 4, 4)\n    return TensorDataset(x, x.repeat(1, 1, 2, 2))"
SEVERAL = "return TensorDataset(torch.rand(12, 1, 4, 4), torch.arange(24).view(12, 2) % 3 % 2)"
LABELLED = "return TensorDataset(torch.rand(12, 1, 4, 4), torch.arange(12) % 2)"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("data", [name for name in names("data") if name not in OF_PROGRAMS])
def test_data_is_refused_exactly_where_it_lacks_the_target(task: str, data: str, folders: Path) -> None:
    if data in LIBRARIES:
        pytest.importorskip(LIBRARIES[data])
    method = task_named(task)
    model = method.stand_in[1]
    call = f"{DOTTED.get(data, data)}({OPENS.get(data, '')})"
    found = codes(f"task {task}\ndata {call}\nmodel {model}")
    body = {"class": LABELLED, "labels": SEVERAL}.get(method.target, PAIRS)
    (folders / "data.py").write_text(
        f"import torch\nfrom torch.utils.data import TensorDataset\ndef build():\n    {body}\n"
    )
    with reading(trust=True, task=method):
        plan = check(parse(f'task {_home(data) or task}\ndata {call}\nmodel python("net.py:build")'))
        opened = next(node.operation.method for node in plan.nodes if node.operation.verb == "data").open(
            lambda name: folders / name
        )
    try:
        require_target(opened, method)
        can = True
    except Refusal as refusal:
        assert refusal.code == "RCP0438"
        can = False
    assert found == (set() if can else {"RCP0438"})
    if can:
        batch = next(iter(opened.batches("train", epoch=0)))
        assert (opened.labels is not None) == method.labelled
        assert batch.inputs.shape[1:] == opened.input_shape and batch.inputs.is_floating_point()
        assert opened.target_shape is None or batch.targets.shape[1:] == opened.target_shape
        for split in ("train", "val", "test"):
            assert sum(len(inputs) for inputs, _ in opened.batches(split)) == opened.size(split)


def _home(data: str) -> str:
    """A task whose target the data offers; "" where it offers any."""
    return next((name for name in TASKS if task_named(name).target in offered(find("data", data))), "")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", names("model"))
def test_a_model_is_refused_exactly_where_it_is_of_another_task(task: str, model: str) -> None:
    method: Any = find("model", model)
    call = f"{model}.resnet18" if model in ("torchvision", "timm") else f"{model}({BESIDE.get(model) or ''})"
    found = codes(f"task {task}\ndata {task_named(task).stand_in[0]}\nmodel {call}\nfinetune for 1 epochs")
    tasks = getattr(method, "tasks", ())
    assert found == (set() if not tasks or task in tasks else {"RCP0437"})
