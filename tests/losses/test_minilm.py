"""The loss `minilm` against its formula written naively, and the attention that it finds in networks."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Attention, Moment, Point, Points, Seen
from recipelang.methods.losses.minilm import MiniLm
from recipelang.methods.tasks.classification import Classification
from recipelang.surgery.headed import unfold
from recipelang.surgery.points import Capture, find_points


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention(seed: int, heads: int, width: int, tokens: int = 5, mask: Tensor | None = None) -> Attention:
    q, k, v = (numbers(seed + n, 2, heads, tokens, width) for n in range(3))
    return Attention(q, k, v, 1 / math.sqrt(width), mask)


def value(loss: Any, mine: Attention, *theirs: Attention) -> float:
    seen = [Seen(None, None, (one,), None) for one in (mine, *theirs)]
    return float(loss(seen[0], tuple(seen[1:]), None, Classification(), None, Moment(0, 2, 1)))


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    powers = [math.exp(v - top) for v in row]
    return [p / sum(powers) for p in powers]


def rows(one: Attention, heads: int, kind: str, hidden: set[int]) -> list[list[float]]:
    """Every row of softmax(QKᵀ/√d) or softmax(VVᵀ/√d), of heads that are cut from all channels."""
    found = []
    left, right = (one.queries, one.keys) if kind == "attention" else (one.values, one.values)
    for image in range(2):
        flat = [torch.cat(list(part[image]), 1) for part in (left, right)]  # T×(H·D)
        width = flat[0].shape[1] // heads
        for h in range(heads):
            a, b = (part[:, h * width : (h + 1) * width].tolist() for part in flat)
            for token in a:
                scores = [sum(x * y for x, y in zip(token, other, strict=True)) / math.sqrt(width) for other in b]
                found.append(softmax([-1e9 if n in hidden else score for n, score in enumerate(scores)]))
    return found


def by_hand(mine: Attention, theirs: Attention, heads: int, kind: str, hidden: set[int] = frozenset()) -> float:  # type: ignore[assignment]
    one, two = (rows(of, heads, kind, hidden) for of in (mine, theirs))
    each = [sum(p * math.log(p / q) for p, q in zip(t, s, strict=True) if p > 0) for s, t in zip(one, two, strict=True)]
    return sum(each) / len(each)


@pytest.mark.parametrize(
    ("shapes", "heads", "wanted"),
    [
        (((3, 4), (3, 8)), None, 3),
        (((2, 4), (4, 4)), None, 4),
        (((2, 6), (5, 3)), None, 3),
        (((3, 4), (3, 4)), 6, 6),
    ],
    ids=["same heads", "more heads", "gcd", "asked for"],
)
def test_minilm_is_the_formula_of_the_paper(shapes: Any, heads: int | None, wanted: int) -> None:
    mine, theirs = attention(0, *shapes[0]), attention(9, *shapes[1])
    total = 0.7 * by_hand(mine, theirs, wanted, "attention") + 1.3 * by_hand(mine, theirs, wanted, "values")
    assert value(MiniLm(0.7, 1.3, heads), mine, theirs) == pytest.approx(total, rel=1e-8)
    both = (total + 0) / 2
    assert value(MiniLm(0.7, 1.3, heads), mine, theirs, mine) == pytest.approx(both, rel=1e-8)


@pytest.mark.parametrize("hidden", [-math.inf, torch.finfo(torch.float32).min])
def test_padding_has_no_weight(hidden: float) -> None:
    mask = torch.zeros(2, 1, 1, 5).double()
    mask[..., 3:] = hidden
    mine, theirs = attention(0, 2, 4, mask=mask), attention(9, 2, 4, mask=mask)
    wanted = sum(by_hand(mine, theirs, 2, kind, {3, 4}) for kind in ("attention", "values"))
    assert value(MiniLm(), mine, theirs) == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    theirs = attention(9, 3, 2)
    leaves = tuple(numbers(k, 2, 2, 5, 3).requires_grad_() for k in range(3))

    def lost(*qkv: Tensor) -> Tensor:
        seen = [Seen(None, None, (one,), None) for one in (Attention(*qkv, 0.5), theirs)]
        found: Tensor = MiniLm()(seen[0], (seen[1],), None, Classification(), None, Moment(0, 2, 1))
        return found

    assert torch.autograd.gradcheck(lost, leaves)


# where it looks -----------------------------------------------------------------------------------------------------


class Eager(nn.Module):
    """Attention as it is often written."""

    def __init__(self, scaled: str, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.scaled, self.heads, self.qkv, self.out = (
            scaled,
            heads,
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        width = q.shape[-1]
        if self.scaled == "queries":
            scores = (q * width**-0.5) @ k.transpose(-2, -1)
        elif self.scaled == "scores":
            scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(width)
        else:
            return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
        weights = nn.functional.dropout(scores.softmax(dim=-1), 0.0)
        return self.out((weights @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Tokens(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.embed, self.attention, self.head = nn.Conv2d(3, 12, 4, stride=4), attention, nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((x + self.attention(x)).mean(1))  # type: ignore[no-any-return]


class OfTorch(nn.Module):
    def __init__(self, batch_first: bool, weights: bool) -> None:
        super().__init__()
        self.first, self.weights, self.inner = (
            batch_first,
            weights,
            nn.MultiheadAttention(12, 3, batch_first=batch_first),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else x.transpose(0, 1)
        x = self.inner(x, x, x, need_weights=self.weights)[0]
        return x if self.first else x.transpose(0, 1)


BUILDS: dict[str, Any] = {
    "fused": lambda: Eager("fused"),
    "scaled scores": lambda: Eager("scores"),
    "scaled queries": lambda: Eager("queries"),
    "torch": lambda: OfTorch(True, False),
    "torch with weights": lambda: OfTorch(False, True),
    "headed": lambda: headed(),
}


def headed() -> nn.Module:
    module = OfTorch(True, False)
    unfold(module, ["inner"])
    return module


def captured(net: nn.Module, images: Tensor, point: Point) -> Attention:
    capture = Capture(net, (point,))
    with capture.watching():
        net(images)
    found: Attention = capture.features()[point]
    return found


@pytest.mark.parametrize("name", BUILDS)
def test_the_attention_that_is_found_is_the_one_that_computes(name: str) -> None:
    torch.manual_seed(0)
    net, images = Tokens(BUILDS[name]()).eval(), torch.randn(2, 3, 12, 8)
    (point,) = find_points(net, images, "the network", attention=True).attention
    where = "attention.inner" if "inner" in dict(net.attention.named_modules()) else "attention"
    assert str(point) == f"the attention of {where} (3 heads of 4, 6 tokens)" and point.trains
    one = captured(net, images, point)
    x = net.embed(images).flatten(2).transpose(1, 2)
    mixed = ((one.queries @ one.keys.mT * one.scale).softmax(-1) @ one.values).transpose(1, 2).flatten(2)
    part: Any = net.attention
    out = part.out if isinstance(part, Eager) else part.inner.out_proj
    torch.testing.assert_close(out(mixed), part(x))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    (one.queries.sum() + one.values.sum()).backward()
    assert net.embed.weight.grad is not None and net.embed.weight.grad.any()


def test_masks_are_found_with_the_scores() -> None:
    class Masked(Eager):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            scores = (q @ k.mT).mul(0.5) + torch.arange(6.0)
            scores = scores.masked_fill(torch.arange(6) > 3, -math.inf)
            return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    net, images = Tokens(Masked("")).eval(), torch.randn(2, 3, 12, 8)
    (point,) = find_points(net, images, "the network", attention=True).attention
    one = captured(net, images, point)
    assert one.scale == 0.5 and one.mask is not None
    wanted = torch.arange(6.0).masked_fill(torch.arange(6) > 3, -math.inf)
    assert torch.equal(one.mask.expand(2, 3, 6, 6), wanted.expand(2, 3, 6, 6))


def of_timm() -> nn.Module:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    import timm

    return timm.create_model(  # type: ignore[no-any-return]
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=3, num_classes=3
    )


def of_transformers() -> nn.Module:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers import ViTConfig, ViTForImageClassification

    shape = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 16}
    return ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **shape))  # type: ignore[arg-type, no-any-return]


def of_torchvision() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 3, 12, 16, num_classes=3)


@pytest.mark.parametrize("build", [of_timm, of_torchvision, of_transformers])
def test_the_last_attention_of_published_transformers(build: Any) -> None:
    net = build().eval()
    points = find_points(net, torch.randn(2, 3, 32, 32), "the network", attention=True)
    (pairing,) = MiniLm().points(points, (points,))
    assert len(points.attention) == 2 and pairing.student is points.attention[-1]
    assert pairing.student.shape == (3, 17, 4) and pairing.student.depth > 0.5
    assert MiniLm(student=points.attention[0].path).points(points, (points,))[0].student is points.attention[0]


def test_a_text_encoder_is_compared_without_its_padding() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers import BertConfig, BertForSequenceClassification

    class Texts(nn.Module):
        """Ids, of which 0 fills up, to scores."""

        def __init__(self, heads: int, layers: int) -> None:
            super().__init__()
            torch.manual_seed(heads)
            shape = {"hidden_size": 12, "num_hidden_layers": layers, "intermediate_size": 16}
            self.bert = BertForSequenceClassification(BertConfig(vocab_size=20, num_attention_heads=heads, **shape))  # type: ignore[arg-type]

        def forward(self, ids: Tensor) -> Tensor:
            scores: Tensor = self.bert(ids, attention_mask=ids.ne(0).long()).logits
            return scores

    ids = torch.tensor([[5, 3, 7, 2, 0, 0], [4, 8, 1, 9, 2, 6]])
    nets = [Texts(3, 2).eval(), Texts(2, 3).eval()]
    student, teacher = (find_points(net, ids, "it", attention=True) for net in nets)
    (pairing,) = MiniLm().points(student, (teacher,))
    assert pairing.student.shape == (3, 6, 4) and ".1." in pairing.student.path
    assert pairing.teachers[0].shape == (2, 6, 6) and ".2." in pairing.teachers[0].path
    seen = []
    for net, point in zip(nets, (pairing.student, *pairing.teachers), strict=True):
        one = captured(net, ids, point)
        assert one.mask is not None and bool((one.mask.expand(2, 1, 6, 6)[0, 0, :, 4:] < -1e4).all())
        seen.append(Seen(None, None, (one,), None))
    lost = MiniLm()(seen[0], (seen[1],), None, Classification(), None, Moment(0, 2, 1))
    lost.backward()
    assert lost.isfinite() and float(lost.detach()) > 0
    table = nets[0].bert.bert.embeddings.word_embeddings.weight.grad
    assert table is not None and table.isfinite().all() and table.any()


def test_what_cannot_be_compared_is_refused() -> None:
    def offer(whose: str, *shapes: tuple[int, int, int]) -> Points:
        made = tuple(Point(f"b{n}", s, 0.5, False, True, attention=True) for n, s in enumerate(shapes))
        return Points(whose, (), made)

    student = offer("the network", (3, 17, 4), (3, 17, 4))
    with pytest.raises(Refusal, match="the teacher computes none over all of its tokens") as refused:
        MiniLm().points(student, (offer("the teacher"),))
    assert refused.value.code == "RCP1511"
    with pytest.raises(Refusal, match="they have 17 and 50 tokens") as refused:
        MiniLm().points(student, (offer("the teacher", (3, 50, 4)),))
    assert refused.value.code == "RCP0823"
    with pytest.raises(Refusal, match="12 channels are not 5 heads of equal width"):
        MiniLm(heads=5).points(student, (student,))
    with pytest.raises(Refusal, match="`b7` of the network computes no self-attention") as refused:
        MiniLm(student="b7").points(student, (student,))
    assert refused.value.code == "RCP0822" and "`b0`" in refused.value.help
    with pytest.raises(SettingError, match="both weights"):
        MiniLm(0, 0)
