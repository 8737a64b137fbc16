"""The loss `svd` against its formula written naively with torch's own singular value decomposition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Moment, Pairing, Point, Points, Seen
from recipelang.methods.losses.svd import Svd
from recipelang.methods.tasks.classification import Classification
from recipelang.surgery.spectral import directions


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value(loss: Svd, mine: list[Tensor], theirs: list[list[Tensor]], parts: Any = None) -> Tensor:
    seen = [Seen(None, None, tuple(of), None) for of in (mine, *theirs)]
    found: Tensor = loss(seen[0], tuple(seen[1:]), None, Classification(), parts, Moment(0, 10, 5))
    return found


def by_hand(mine: list[Tensor], theirs: list[Tensor], vectors: int) -> Tensor:
    """One image: C×H×W maps → Σ (R_s − R_t)², with loops where the authors have them."""

    def svd(maps: Tensor) -> tuple[Tensor, Tensor]:
        _, values, right = torch.linalg.svd(maps.flatten(1).T, full_matrices=False)
        return values, right.T

    total, last = torch.zeros((), dtype=maps_dtype(mine)), None
    for s, t in zip(mine, theirs, strict=True):
        (values, hints), (_, own) = svd(t), svd(s)
        values = values[:vectors] / values[:vectors].norm()
        pairs = []
        for k in range(vectors):
            hint = hints[:, k] * (1 if hints[:, k].sum() >= 0 else -1)
            cosines = [float(own[:, j] @ hint) for j in range(min(vectors + 3, own.shape[1]))]
            j = max(range(len(cosines)), key=lambda n: abs(cosines[n]))
            pairs.append((own[:, j] * (1 if cosines[j] > 0 else -1) * values[k], hint * values[k]))
        if last is not None:
            for (s_now, t_now), (s_before, t_before) in zip(pairs, last, strict=True):
                for a, b in zip(s_now, t_now, strict=True):
                    r = (-((a - s_before) ** 2) / 8).exp() - (-((b - t_before) ** 2) / 8).exp()
                    total = total + (r**2).sum()
        last = pairs
    return total


def maps_dtype(maps: list[Tensor]) -> torch.dtype:
    return maps[0].dtype


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 2))
def test_svd_is_the_formula_of_the_paper(seed: int, vectors: int, count: int) -> None:
    shapes = [(4, 3, 3), (6, 2, 2), (5, 4, 4)]  # more places than channels, and fewer
    mine = [numbers(seed + k, 2, *shape) for k, shape in enumerate(shapes)]
    theirs = [[numbers(seed + 10 * n + k, 2, *shape) for k, shape in enumerate(shapes)] for n in range(1, count + 1)]
    wanted = sum(
        by_hand([maps[image] for maps in mine], [maps[image] for maps in of], vectors) / 2 / count
        for of in theirs
        for image in range(2)
    )
    got = value(Svd(beta=3.0, vectors=vectors), mine, theirs)
    assert float(got) == pytest.approx(3 * float(wanted), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("shapes", [[(3, 4, 4), (5, 2, 1)], [(7, 3), (4, 6)]], ids=["maps", "tokens"])
def test_the_gradient_is_that_of_finite_differences(shapes: Any) -> None:
    theirs = [numbers(9 + k, 2, *shape) for k, shape in enumerate(shapes)]
    leaves = tuple(numbers(k, 2, *shape).requires_grad_() for k, shape in enumerate(shapes))
    assert torch.autograd.gradcheck(lambda *x: value(Svd(), list(x), [theirs]), leaves, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_directions_are_those_of_torch(shape: tuple[int, int]) -> None:
    rows = numbers(0, 3, *shape)
    found, values = directions(rows, 3)
    _, wanted, right = torch.linalg.svd(rows, full_matrices=False)
    torch.testing.assert_close(values, wanted[:, :3])
    torch.testing.assert_close((found.mT @ right.mT[..., :3]).abs(), torch.eye(3, dtype=rows.dtype).expand(3, 3, 3))


@pytest.mark.parametrize("maps", [torch.zeros(2, 4, 3, 3), torch.ones(2, 4, 3, 3), torch.eye(4).view(1, 4, 2, 2)])
def test_maps_without_directions_of_their_own_have_finite_gradients(maps: Tensor) -> None:
    leaves = [maps.clone().requires_grad_() for _ in range(2)]
    hints = [numbers(k, len(maps), 4, *maps.shape[2:]).float() for k in range(2)]
    lost = value(Svd(), leaves, [hints])
    lost.backward()
    assert lost.isfinite() and all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def place(path: str, *shape: int, depth: float = 0.5) -> Point:
    return Point(path, shape, depth, True, True, 2 if len(shape) == 2 else 1)


def test_another_width_is_led_to_the_teachers() -> None:
    loss = Svd()
    places = [Pairing(place("a", 4, 3, 3), (place("b", 6, 3, 3),)), Pairing(place("c", 5, 2), (place("d", 5, 2),))]
    parts: Any = loss.parts(tuple(places))
    parts = parts.double()
    assert [type(part).__name__ for part in parts] == ["Linear", "Identity"]
    mine, theirs = [numbers(0, 2, 4, 3, 3), numbers(1, 2, 2, 5)], [numbers(2, 2, 6, 3, 3), numbers(3, 2, 2, 5)]
    led = torch.einsum("oc,bchw->bohw", parts[0].weight.detach(), mine[0])
    tokens = [(led, mine[1].mT[..., None]), (theirs[0], theirs[1].mT[..., None])]  # places last, as maps
    wanted = sum(by_hand(*([maps[image] for maps in of] for of in tokens), 1) / 2 for image in range(2))
    got = value(loss, mine, [theirs], parts)
    assert float(got.detach()) == pytest.approx(float(wanted), rel=1e-6)
    got.backward()
    assert parts[0].weight.grad.any()


def test_one_position_is_not_enough() -> None:
    one, vector = place("s", 4, 8, 8), place("v", 9)
    with pytest.raises(Refusal, match="no two positions, one after another"):
        Svd().points(Points("the network", (one,)), (Points("the teacher", (one,)),))
    with pytest.raises(Refusal, match="`v` is a vector"):
        Svd(student="s, v", teacher="s, v").points(*[Points("it", (one, vector))], (Points("it", (one, vector)),))
