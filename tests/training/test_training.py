"""The training loop does what a loop by hand does, and nothing to what it was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.mis import Mis
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.adamw import AdamW
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import broken
from recipelang.surgery.restrictions.mask import Mask
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

TASK = Classification()


def tensors(network: Network) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in network.module.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


def test_it_is_the_loop_that_one_writes_by_hand(network: Network, data: ImageDataset, silent: Any) -> None:
    training = Training(Duration(3), Sgd(Cosine(0.1), weight_decay=1e-3))
    trained, record = fit(network, data, training, task=TASK, seed=5, progress=silent(), precision="float32")

    module = network.clone().module.train().to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
        losses = []
        for epoch in range(3):
            for x, y in data.batches("train", epoch=epoch, seed=5):
                loss = nn.functional.cross_entropy(module(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
    for name, wanted in module.state_dict().items():
        torch.testing.assert_close(trained.module.state_dict()[name], wanted, rtol=1e-4, atol=1e-6)
    assert record.history[2]["loss"] == pytest.approx(sum(losses[8:]) / 4, rel=1e-4)
    assert (record.steps, record.images, record.epochs) == (12, 192, 3)
    assert [row["epoch"] for row in record.history] == [1, 2, 3]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns(network: Network, data: ImageDataset, silent: Any, precision: str) -> None:
    training = Training(Duration(12), AdamW(0.01))
    _, record = fit(network, data, training, task=TASK, seed=0, progress=silent(), precision=precision)
    assert record.precision == precision
    assert record.history[-1]["accuracy"] > 0.85 > record.history[0]["accuracy"]


def test_what_was_given_stands_as_it_was(network: Network, data: ImageDataset, silent: Any) -> None:
    before, random, threads = tensors(network), torch.get_rng_state(), torch.get_num_threads()
    progress = silent()
    trained, _ = fit(network, data, Training(Duration(1), Sgd()), task=TASK, seed=0, progress=progress, threads=1)
    assert same(before, tensors(network))
    assert not same(before, tensors(trained))
    assert torch.equal(random, torch.get_rng_state()) and threads == torch.get_num_threads()
    assert not network.module.training and not trained.module.training
    assert all(p.is_contiguous() for p in trained.module.parameters())
    assert not progress.running


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_seed_decides_everything(network: Network, data: ImageDataset, silent: Any, precision: str) -> None:
    training = Training(Duration(5, "steps"), Sgd(0.1))
    how: Any = {"task": TASK, "progress": silent(), "precision": precision}
    runs = [tensors(fit(network, data, training, seed=seed, **how)[0]) for seed in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize(
    ("duration", "steps"),
    [(Duration(2), 8), (Duration(0.5), 2), (Duration(7, "steps"), 7), (Duration(1, "steps"), 1), (Duration(0), 0)],
)
def test_durations(network: Network, data: ImageDataset, silent: Any, duration: Duration, steps: int) -> None:
    progress = silent()
    _, record = fit(network, data, Training(duration, Sgd()), task=TASK, seed=0, progress=progress)
    assert record.steps == steps == progress.done
    assert len(record.history) == -(-steps // 4)


def test_smoke_takes_two_steps(network: Network, data: ImageDataset, silent: Any) -> None:
    _, record = fit(network, data, Training(Duration(9), Sgd()), task=TASK, seed=0, progress=silent(), smoke=True)
    assert record.steps == 2


def test_samples_make_shorter_epochs(network: Network, data: ImageDataset, silent: Any) -> None:
    how: Any = {"task": TASK, "seed": 0, "progress": silent()}
    assert fit(network, data, Training(Duration(2), Sgd()), samples=40, **how)[1].steps == 4
    assert fit(network, data, Training(Duration(2), Sgd()), samples=10, **how)[1].images == 20


@dataclass(frozen=True)
class Recorder(Sgd):
    """SGD that records the learning rate of every step."""

    kind: ClassVar[str] = "optimizer"
    name: ClassVar[str] = "recorder"
    seen: ClassVar[list[float]] = []

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        self.seen.clear()
        optimizer = super().build(module)
        optimizer.register_step_pre_hook(lambda o, *_: self.seen.append(o.param_groups[0]["lr"]))
        return optimizer


def test_the_learning_rate_follows_its_ramp(network: Network, data: ImageDataset, silent: Any) -> None:
    ramp = Linear(0.1, to=0.02, warmup=Duration(1))
    fit(network, data, Training(Duration(3), Recorder(ramp)), task=TASK, seed=0, progress=silent())
    assert Recorder.seen == [ramp.value_at(step, 12, 4) for step in range(12)]


def test_weights_of_terms_add_up_and_may_be_ramps(network: Network, data: ImageDataset, silent: Any) -> None:
    def trained(terms: tuple[Term, ...]) -> dict[str, Tensor]:
        training = Training(Duration(1), Sgd(0.1), terms)
        return tensors(fit(network, data, training, task=TASK, seed=0, progress=silent(), precision="float32")[0])

    plain = trained(())
    assert same(plain, trained((Term(1.0, TaskLoss()),)))
    halves = trained((Term(0.5, TaskLoss()), Term(0.5, TaskLoss())))
    assert all(torch.allclose(plain[n], halves[n], atol=1e-5) for n in plain)
    assert not same(plain, trained((Term(Linear(1.0, to=0.0), TaskLoss()),)))


def test_teachers_are_looked_at_in_evaluation_mode_and_stand(
    network: Network, another: Callable[..., Network], data: ImageDataset, silent: Any
) -> None:
    teacher = another(1, dropout=0.9)
    before = tensors(teacher)
    training = Training(Duration(30), AdamW(0.01), (Term(1.0, Kd(1.0, 1.0)),))
    how: Any = {"task": TASK, "seed": 0, "teachers": (Teacher("old", teacher),)}
    trained, record = fit(network, data, training, progress=silent(), **how)
    assert same(before, tensors(teacher))
    x = next(iter(data.batches("val", batch=70)))[0]
    with torch.no_grad():
        far, near = (
            nn.functional.kl_div(m(x).log_softmax(1), teacher.module(x).softmax(1), reduction="batchmean")
            for m in (network.module, trained.module)
        )
    assert near < 0.2 * far


def test_mis_takes_two_teachers_in_order(
    network: Network, another: Callable[..., Network], data: ImageDataset, silent: Any
) -> None:
    def run(*teachers: Network) -> dict[str, Tensor]:
        training = Training(Duration(2, "steps"), Sgd(1e-3), (Term(1.0, Mis()),))
        return tensors(
            fit(
                network,
                data,
                training,
                task=TASK,
                seed=0,
                progress=silent(),
                teachers=[Teacher("old", t) for t in teachers],
            )[0]
        )

    one, two = another(1), another(2)
    assert not same(run(one, two), run(two, one))


class Watched(Sgd):
    """SGD whose optimizer is kept, to look at its momentum."""

    kept: ClassVar[list[torch.optim.Optimizer]] = []

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        self.kept.append(super().build(module))
        return self.kept[-1]


def test_masks_hold_after_every_step_for_weights_and_momentum(
    network: Network, data: ImageDataset, silent: Any
) -> None:
    generator = torch.Generator().manual_seed(3)
    names = ("0.weight", "7.weight")
    weights = dict(network.module.named_parameters())
    masks = {n: Mask("some", torch.rand(weights[n].shape, generator=generator) < 0.5) for n in names}
    masked = network.restricted(masks)
    Watched.kept.clear()

    def look(_: int) -> None:
        if not Watched.kept or not (optimizer := Watched.kept[-1]).state:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                for mask in (m for n, m in masks.items() if weights[n].shape == parameter.shape):
                    assert not parameter.detach()[~mask.keep].any()
                    assert not optimizer.state[parameter]["momentum_buffer"][~mask.keep].any()

    training = Training(Duration(2), Watched(0.1))
    trained, _ = fit(masked, data, training, task=TASK, seed=0, progress=silent(look))
    assert Watched.kept and not broken(trained)
    assert all(trained.module.state_dict()[n][m.keep].all() for n, m in masks.items())


def refusal(network: Network, data: Any, silent: Any, optimizer: Any = None, **how: Any) -> Refusal:
    before = tensors(network)
    progress = silent()
    with pytest.raises(Refusal) as caught:
        training = Training(Duration(3), optimizer or Sgd(), how.pop("losses", ()))
        fit(network, data, training, task=TASK, seed=0, progress=progress, **how)
    assert same(before, tensors(network)) and not progress.running
    assert caught.value.help
    return caught.value


def test_a_loss_that_is_not_finite_says_where_and_what_to_do(network: Network, data: ImageDataset, silent: Any) -> None:
    found = refusal(network, data, silent, Sgd(1e9))
    assert found.code == "RCP0811"
    assert "learning rate 1e+09" in found.message and "at step " in found.message and "lr=" in found.help


def test_weights_that_are_not_finite_from_the_start(network: Network, data: ImageDataset, silent: Any) -> None:
    broken = network.clone()
    next(broken.module.parameters()).data[0] = torch.nan
    with pytest.raises(Refusal, match="became nan at step 1,"):
        fit(broken, data, Training(Duration(1), Sgd()), task=TASK, seed=0, progress=silent())


def test_outputs_that_do_not_fit(another: Callable[..., Network], data: ImageDataset, silent: Any) -> None:
    found = refusal(another(classes=2), data, silent)
    assert (found.code, "2 outputs" in found.message, "3 classes" in found.message) == ("RCP0812", True, True)
    lists = another()
    lists.module.append(nn.Unflatten(1, (1, 3)))
    assert refusal(lists, data, silent).code == "RCP0812"


def test_batches_of_one_image_and_batchnorm(network: Network, data: ImageDataset, silent: Any) -> None:
    assert refusal(network, replace(data, batch=1), silent).code == "RCP0814"
    assert refusal(network, data, silent, samples=1).code == "RCP0814"


def test_auxiliary_classifiers_are_left_alone(network: Network, data: ImageDataset, silent: Any) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network.clone().module

        def forward(self, x: Tensor) -> Any:
            answer = self.body(x)
            return (answer, answer * 2) if self.training else answer

    twins = replace(network, module=Two())
    one = fit(network, data, Training(Duration(1), Sgd()), task=TASK, seed=0, progress=silent())[0]
    two = fit(twins, data, Training(Duration(1), Sgd()), task=TASK, seed=0, progress=silent())[0]
    assert all(torch.equal(t, two.module.state_dict()[f"body.{n}"]) for n, t in tensors(one).items())


def test_kernels_over_a_single_place_train_in_float32_on_a_cpu(data: ImageDataset, silent: Any) -> None:
    """In bfloat16, torch leaves parts of their gradients unwritten."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU())
    narrow = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 16, 3, 2, 1), nn.Flatten())
    head = nn.Sequential(narrow, nn.Linear(16, 3))
    small = Network(head.eval(), {}, data.input_shape, classes=("a", "b", "c"))
    how: Any = {"task": TASK, "seed": 0, "precision": "bfloat16"}
    trained, record = fit(small, data, Training(Duration(2, "steps"), Sgd(0.1)), progress=silent(), **how)
    assert record.precision == "float32" and all(p.isfinite().all() for p in trained.module.parameters())
    wide = Network(
        nn.Sequential(narrow[:2], nn.Flatten(), nn.LazyLinear(3)), {}, data.input_shape, classes=("a", "b", "c")
    )
    wide.module(torch.zeros(1, *data.input_shape))
    _, record = fit(wide, data, Training(Duration(2, "steps"), Sgd(0.1)), progress=silent(), **how)
    assert record.precision == "bfloat16"
