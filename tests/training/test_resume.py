"""An interrupted training continues to the same bytes, and nothing else is ever continued."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from killing import Killed, kill_after
from safetensors.torch import load_file
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Scheme
from recipelang.methods.companions.slimming import Slimming
from recipelang.methods.losses.mis import Mis
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.restrictions.shared import Shared
from recipelang.training import checkpoint
from recipelang.training import loop as loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.teachers import Teacher

TASK = Classification()
ONE = torch.tensor(2.0)
GRIDS = {
    "input": Grid.between(-ONE, ONE, Scheme(4)),
    "0.weight": Grid.between(-ONE, ONE, Scheme(4, signed=True, symmetric=True)),
    "7.weight": Grid.between(-ONE, ONE, Scheme(3, signed=True, symmetric=True)),
}


@pytest.fixture(autouse=True)
def save_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    return {n: t.contiguous().numpy().tobytes() for n, t in result[0].module.state_dict().items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", [Sgd(Cosine(0.1), nesterov=True), Adam(0.01)], ids=["sgd", "adam"])
def test_killed_twice_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, optimizer: Any, precision: str
) -> None:
    masked = network.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    masked = masked.restricted(GRIDS) if precision == "float32" else masked
    masked = restrict(masked, {"4.weight": Shared(torch.randint(-1, 5, (8, 8, 3, 3)).to(torch.int16), 5)})
    teachers = (Teacher("a", network), Teacher("b", masked))
    how: Any = {"task": TASK, "seed": 4, "precision": precision, "teachers": teachers}
    training = Training(Duration(3), optimizer, (Term(1.0, Mis(beta=1.0, gamma=1.0)),))
    whole = fit(masked, data, training, progress=silent(), **how)
    path = tmp_path / "deep" / "checkpoint"
    for steps in (3, 7):  # inside the first epoch, inside the second
        with pytest.raises(Killed):
            fit(masked, data, training, progress=silent(kill_after(steps)), checkpoint=path, **how)
    again = fit(masked, data, training, progress=silent(), checkpoint=path, **how)
    assert again[1].resumed_at == 6
    assert bytes_of(again) == bytes_of(whole)
    assert again[1].history == whole[1].history
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("name", catalogue.names("optimizer"))
def test_with_every_optimizer(network: Network, data: ImageDataset, silent: Any, tmp_path: Path, name: str) -> None:
    masked = network.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    training, path = Training(Duration(2), catalogue.find("optimizer", name)()), tmp_path / "c"
    whole = fit(masked, data, training, task=TASK, seed=4, progress=silent())
    with pytest.raises(Killed):
        fit(masked, data, training, task=TASK, seed=4, progress=silent(kill_after(3)), checkpoint=path)
    again = fit(masked, data, training, task=TASK, seed=4, progress=silent(), checkpoint=path)
    assert again[1].resumed_at == 2 and bytes_of(again) == bytes_of(whole)
    assert all((a != b).any() for a, b in zip(parameters(network), parameters(again[0]), strict=True))


def parameters(network: Network) -> list[Tensor]:
    return [p.detach() for p in network.module.parameters()]


def test_a_finished_training_is_not_repeated(network: Network, data: ImageDataset, silent: Any, tmp_path: Path) -> None:
    how: Any = {"task": TASK, "seed": 4, "checkpoint": tmp_path / "c"}
    training = Training(Duration(2), Sgd(0.1))
    first = fit(network, data, training, progress=silent(), **how)
    second = fit(network, data, training, progress=silent(), **how)
    assert second[1].resumed_at == 8
    assert bytes_of(first) == bytes_of(second)


def test_another_training_starts_over(network: Network, data: ImageDataset, silent: Any, tmp_path: Path) -> None:
    path = tmp_path / "c"
    how: Any = {"task": TASK, "checkpoint": path}
    training = Training(Duration(2), Sgd(0.1))

    def resumed(seed: int = 0, training: Training = training, start: Network = network, **more: Any) -> int:
        with pytest.raises(Killed):
            fit(network, data, Training(Duration(2), Sgd(0.1)), seed=0, progress=silent(kill_after(3)), **how)
        return fit(start, data, training, seed=seed, progress=silent(), **how, **more)[1].resumed_at

    assert resumed() == 2
    path.unlink()
    assert resumed(seed=1) == 0
    assert resumed(training=Training(Duration(2), Sgd(0.2))) == 0
    assert resumed(training=Training(Duration(3), Sgd(0.1))) == 0
    assert resumed(samples=64) == 0
    assert resumed(start=network.restricted(GRIDS)) == 0
    other = network.clone()
    next(other.module.parameters()).data[0, 0, 0, 0] += 1e-3
    assert resumed(start=other) == 0


def test_a_checkpoint_in_which_a_companion_had_other_numbers_starts_over(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: Any = {"task": TASK, "seed": 0, "checkpoint": tmp_path / "c"}
    training = Training(Duration(2), Sgd(0.1), companions=(Slimming(1e-4),))

    def state(name: str) -> nn.Module:
        module = nn.Module()
        module.register_buffer(name, torch.zeros(2))
        return module

    with monkeypatch.context() as before:
        before.setattr(Slimming, "begin", lambda *_: state("old"))
        with pytest.raises(Killed):
            fit(network, data, training, progress=silent(kill_after(3)), **how)
    monkeypatch.setattr(Slimming, "begin", lambda *_: state("new"))
    assert fit(network, data, training, progress=silent(), **how)[1].resumed_at == 0


def test_a_checkpoint_of_an_earlier_format_starts_over(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: Any = {"task": TASK, "seed": 0, "checkpoint": tmp_path / "c"}
    training = Training(Duration(2), Sgd(0.1))
    with monkeypatch.context() as before:
        before.setattr(checkpoint, "FORMAT", "recipelang.checkpoint/3")
        with pytest.raises(Killed):
            fit(network, data, training, progress=silent(kill_after(3)), **how)
    assert fit(network, data, training, progress=silent(), **how)[1].resumed_at == 0


def test_another_number_of_threads_starts_over(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path
) -> None:
    how: Any = {"task": TASK, "seed": 0, "checkpoint": tmp_path / "c"}
    training = Training(Duration(2), Sgd(0.1))
    with pytest.raises(Killed):
        fit(network, data, training, progress=silent(kill_after(3)), threads=1, **how)
    assert fit(network, data, training, progress=silent(), threads=2, **how)[1].resumed_at == 0


@pytest.mark.parametrize("damage", ["torn", "altered", "position", "loss", "empty", "junk", "folder"])
def test_a_damaged_checkpoint_is_noticed(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "c"
    how: Any = {"task": TASK, "seed": 0}
    training = Training(Duration(2), Sgd(0.1))
    whole = fit(network, data, training, progress=silent(), **how)
    with pytest.raises(Killed):
        fit(network, data, training, progress=silent(kill_after(5)), checkpoint=path, **how)
    content = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
        with pytest.raises(OSError):
            fit(network, data, training, progress=silent(), checkpoint=path, **how)
        return
    changed = {
        "torn": content[: len(content) // 2],
        "altered": content[:-50] + bytes([content[-50] ^ 1]) + content[-49:],
        "position": content.replace(rb"\"step\": 4", rb"\"step\": 8"),
        "loss": content.replace(rb"\"loss\": ", rb"\"loss\":3"),
        "empty": b"",
        "junk": b"\xff" * 100,
    }[damage]
    assert changed != content
    path.write_bytes(changed)
    again = fit(network, data, training, progress=silent(), checkpoint=path, **how)
    assert again[1].resumed_at == 0
    assert bytes_of(again) == bytes_of(whole)


def test_ctrl_c_saves_a_whole_step_and_goes_on(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 1e9)
    monkeypatch.setattr(loop, "WORTH_SAVING", 1e9)
    path, training = tmp_path / "c", Training(Duration(3), Sgd(0.1))
    how: Any = {"task": TASK, "seed": 0}
    whole = fit(network, data, training, progress=silent(), **how)
    handler = signal.getsignal(signal.SIGINT)

    def press(done: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    progress = silent(press)
    with pytest.raises(KeyboardInterrupt):
        fit(network, data, training, progress=progress, checkpoint=path, **how)
    assert progress.done == 5 and signal.getsignal(signal.SIGINT) is handler
    again = fit(network, data, training, progress=silent(), checkpoint=path, **how)
    assert again[1].resumed_at == 5
    assert bytes_of(again) == bytes_of(whole)


def test_a_loss_that_is_not_finite_is_never_saved(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    with pytest.raises(Refusal):
        fit(network, data, Training(Duration(9), Sgd(1e9)), task=TASK, seed=0, progress=silent(), checkpoint=path)
    for tensor in load_file(path).values():  # of a step before
        assert tensor.dtype == torch.uint8 or tensor.isfinite().all()


SCRIPT = """
import sys, numpy as np, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.training import checkpoint
from recipelang.training import loop as loop
loop.SAVE_EVERY = -1.0
def say(done):
    if done:
        print(done, flush=True)
loop.fit(conftest.make_network(), conftest.data.__wrapped__(), Training(Duration(5000), Sgd(0.01)),
         task=Classification(), seed=0, progress=conftest.Silent(say), checkpoint=Path({path!r}), threads=1)
"""


def test_a_process_that_is_killed_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    script = SCRIPT.format(tests=str(Path(__file__).parent), path=str(path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if int(line) >= 20:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    assert load_file(path)


class Depth(nn.Module):
    """Skips layers with Python's random numbers and scales with numpy's, as published networks do in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(nn.Linear(12, 12) for _ in range(3)), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3)).repeat(1, 4)
        for layer in self.layers:
            if not self.training or random.random() < 0.5:
                x = x + layer(x)
        return self.head(x * (numpy.random.rand() if self.training else 0.5))


def test_numbers_of_python_and_numpy_are_seeded_and_go_on_with_a_checkpoint(
    data: ImageDataset, silent: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    depth = Network(Depth().eval(), {}, (3, 6, 6), classes=("a", "b", "c"))
    training = Training(Duration(3), Sgd(0.1))
    whole = fit(depth, data, training, progress=silent(), task=TASK, seed=4)
    random.seed(99)
    numpy.random.seed(99)
    own = random.getstate(), numpy.random.get_state()[1].tobytes()
    with pytest.raises(Killed):
        fit(depth, data, training, progress=silent(kill_after(5)), task=TASK, seed=4, checkpoint=tmp_path / "c")
    again = fit(depth, data, training, progress=silent(), task=TASK, seed=4, checkpoint=tmp_path / "c")
    other = fit(depth, data, training, progress=silent(), task=TASK, seed=5)
    assert again[1].resumed_at == 4 and bytes_of(again) == bytes_of(whole) != bytes_of(other)
    assert own == (random.getstate(), numpy.random.get_state()[1].tobytes())
