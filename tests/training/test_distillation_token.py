"""The loss `deit`: its formula, the token in transformers of both libraries, and trainings that leave it there."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.errors import Refusal, SettingError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Moment, Seen
from recipelang.methods.losses.deit import Deit
from recipelang.methods.losses.kd import Kd
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.edits import from_json, replay
from recipelang.surgery.edits.add_token import AddToken
from recipelang.surgery.network import Network
from recipelang.surgery.tokened import add_token, has_token, why_no_token
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.positions import pairings, shown, with_added
from recipelang.training.teachers import Teacher

TASK = Classification()


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_torchvision(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = torchvision.models.VisionTransformer(8, 4, 2, 2, 12, 16, num_classes=3)
    nn.init.normal_(module.heads[0].weight, std=0.3)  # type: ignore[arg-type]
    return module.eval()


def of_timm(seed: int = 0, name: str = "vit_tiny_patch16_224", **more: Any) -> nn.Module:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(seed)
    shape = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 3}
    module: nn.Module = timm.create_model(name, **{**shape, **more})
    return module.eval()


def network_of(module: nn.Module) -> Network:
    return Network(module, {}, (3, 8, 8), classes=("a", "b", "c"))


# the formula --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("soft", "temperature"), [(False, None), (True, None), (True, 2.0)])
def test_deit_is_the_formula_of_the_paper(soft: bool, temperature: float | None) -> None:
    own, told, teacher = (numbers(k, 4, 5) for k in range(3))
    labels = torch.tensor([0, 3, 2, 4])
    t = temperature or 3.0

    def entropy(scores: Tensor, targets: Tensor) -> float:
        return float(-scores.log_softmax(1)[range(4), targets].mean())

    if soft:
        p, q = (teacher / t).softmax(1), (told / t).log_softmax(1)
        taught = t**2 * float((p * (p.log() - q)).sum(1).mean())
    else:
        taught = entropy(told, teacher.argmax(1))
    wanted = 0.7 * entropy(own, labels) + 0.3 * taught
    student, other = Seen(None, (own + told) / 2, (own, told), None), Seen(None, teacher, (), None)
    got = Deit(0.3, soft, temperature)(student, (other,), labels, TASK, None, Moment(0, 2, 1))
    assert float(got) == pytest.approx(wanted, rel=1e-9)


def test_labels_have_no_temperature() -> None:
    with pytest.raises(SettingError, match="labels have no temperature"):
        Deit(T=2.0)


# the token ----------------------------------------------------------------------------------------------------------


def test_it_is_the_token_of_timm() -> None:
    """timm's own network with a distillation token, and ours from its plain one with the same weights."""
    theirs: Any = of_timm(1, "deit_tiny_distilled_patch16_224")
    plain: Any = of_timm(2)
    with torch.no_grad():
        states = plain.state_dict()
        for name, value in theirs.state_dict().items():
            if name in states and name != "pos_embed":
                states[name].copy_(value)
        plain.pos_embed.copy_(torch.cat((theirs.pos_embed[:, :1], theirs.pos_embed[:, 2:]), 1))
    add_token(plain)
    with torch.no_grad():
        plain.dist_token.copy_(theirs.dist_token + theirs.pos_embed[:, 1:2])
        plain.head_dist.load_state_dict(theirs.head_dist.state_dict())
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(plain(images), theirs(images))
    assert has_token(theirs) and has_token(plain) and plain.train()(images).shape == (2, 3)


def test_it_is_a_token_of_torchvision() -> None:
    """A copy in which the token is written into the sequence by hand."""
    module: Any = of_torchvision()
    plain, images = copy.deepcopy(module), torch.randn(2, 3, 8, 8)
    add_token(module)
    token = plain.class_token + plain.encoder.pos_embedding[:, :1]
    assert torch.equal(module.dist_token, token)
    with torch.no_grad():
        module.dist_token += 0.5
        module.head_dist[0].weight += 1
        x = torch.cat([plain.class_token.expand(2, -1, -1), plain._process_input(images)], 1)
        x = torch.cat([x + plain.encoder.pos_embedding, (token + 0.5).expand(2, -1, -1)], 1)
        for block in plain.encoder.layers:
            x = block(x)
        x = plain.encoder.ln(x)
        told = x[:, -1] @ (plain.heads[0].weight + 1).T + plain.heads[0].bias
        torch.testing.assert_close(module(images), (plain.heads(x[:, 0]) + told) / 2)


@pytest.mark.parametrize(
    "more",
    [{"global_pool": "avg"}, {"class_token": False, "global_pool": "avg"}, {"reg_tokens": 2}, {"no_embed_class": True}],
    ids=["averaged", "no class token", "registers", "class outside"],
)
def test_variants_of_timm_have_a_token(more: Any) -> None:
    module = of_timm(**more)
    names = set(module.state_dict())
    add_token(module)
    assert module(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    assert set(module.state_dict()) - names == {"dist_token", "head_dist.weight", "head_dist.bias"}
    again = copy.deepcopy(module)
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(again(images), module(images))


def test_what_cannot_have_a_token_is_refused() -> None:
    with pytest.raises(Refusal, match="not a vision transformer of timm or torchvision") as refused:
        Deit().adds(network_of(nn.Sequential(nn.Flatten(), nn.Linear(192, 3))))
    assert refused.value.code == "RCP1512"
    assert "drops tokens" in why_no_token(of_timm(patch_drop_rate=0.5))
    assert "not that of VisionTransformer" in why_no_token(type("Own", (Own,), {})())
    tokened = of_torchvision()
    add_token(tokened)
    assert Deit().adds(network_of(tokened)) == ()
    with pytest.raises(Refusal) as refused:
        AddToken().apply(tokened)
    assert refused.value.code == "RCP0701"


class Own(torchvision.models.VisionTransformer):
    def __init__(self) -> None:
        super().__init__(8, 4, 2, 2, 12, 16, num_classes=3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


# trainings ----------------------------------------------------------------------------------------------------------


def train(
    student: Network, data: ImageDataset, silent: Any, loss: Any, teacher: Network, **more: Any
) -> tuple[Network, FitRecord]:
    training = Training(Duration(4, "steps"), Sgd(0.05), (Term(1.0, loss),))
    progress, teachers = more.pop("progress", silent()), (Teacher("t", teacher),)
    return fit(student, data, training, task=TASK, seed=3, progress=progress, teachers=teachers, **more)


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    return {n: t.contiguous().numpy().tobytes() for n, t in result[0].module.state_dict().items()}


@pytest.mark.parametrize("build", [of_torchvision, of_timm])
def test_the_token_stays_and_a_kill_changes_nothing(
    build: Any, network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    student, path = network_of(build()), tmp_path / "c"
    whole = train(student, data, silent, Deit(), network)
    with pytest.raises(Killed):
        train(student, data, silent, Deit(), network, checkpoint=path, progress=silent(kill_after(3)))
    again = train(student, data, silent, Deit(), network, checkpoint=path)
    assert again[1].resumed_at == 2 and bytes_of(again) == bytes_of(whole)
    trained = whole[0]
    assert trained.edits == (AddToken(),) and not has_token(student.module)
    begun = with_added(Training(Duration(1), Sgd(0.1), (Term(1.0, Deit()),)), student)
    for name in ("dist_token", "head_dist.weight" if build is of_timm else "head_dist.head.weight"):
        assert not torch.equal(begun.module.get_parameter(name), trained.module.get_parameter(name))
    # the log makes the same network again
    built = build(5)
    replay(built, [from_json(edit.json()) for edit in trained.edits])
    built.load_state_dict(trained.module.state_dict())
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(built.eval()(images), trained.module.eval()(images))
    # and goes on with the token that it has
    longer, _ = train(trained, data, silent, Deit(soft=True), network)
    assert longer.edits == trained.edits
    assert train(trained, data, silent, Kd(), network)[0].edits == trained.edits


def test_the_plan_says_which_heads_are_trained(network: Network) -> None:
    training = Training(Duration(1), Sgd(0.1), (Term(1.0, Deit()),))
    teachers = (Teacher("t", replace(network, preprocessing=None)),)
    found = pairings(training, network_of(of_torchvision()), teachers)
    assert shown(training, found, teachers) == ("`deit` looks at heads (3)", "`deit` looks at head_dist (3)")
    with pytest.raises(Refusal) as refused:
        pairings(training, network, teachers)
    assert refused.value.code == "RCP1512"
