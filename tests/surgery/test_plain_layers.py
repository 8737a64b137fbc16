"""What computes as torch's own layer does: it alone is folded, and its head alone is replaced."""

from __future__ import annotations

import warnings

import pytest
import torch
from multiplying import MAPS, D, Standardised
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from recipelang.errors import Refusal
from recipelang.surgery.folding import fold
from recipelang.surgery.head import replace_head
from recipelang.surgery.products import is_plain


@pytest.mark.filterwarnings("ignore")
def test_only_what_computes_as_torchs_layer_does_is_plain_and_is_folded() -> None:
    plain, hooked, replaced = nn.Conv2d(4, 4, 3), nn.utils.weight_norm(nn.Conv2d(4, 4, 3)), nn.Conv2d(4, 4, 3)
    replaced.forward = lambda x: 2 * F.conv2d(x, replaced.weight)  # type: ignore[method-assign]
    others = [hooked, replaced, Standardised(4, 4, 3), parametrizations.weight_norm(nn.Conv2d(4, 4, 3))]
    assert is_plain(plain, nn.Conv2d) and not any(is_plain(part, nn.Conv2d) for part in others)
    for layer in [plain, *others]:
        norm = nn.BatchNorm2d(4)
        norm.running_mean.normal_()
        module = nn.Sequential(layer, norm).eval()
        with torch.no_grad(), warnings.catch_warnings():
            folded = fold(module, MAPS)
            torch.testing.assert_close(folded(MAPS), module(MAPS), rtol=1e-4, atol=1e-5)
        assert isinstance(folded[1], nn.Identity) == (layer is plain)


class Cosine(nn.Linear):
    """A head that compares directions."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(F.normalize(input), F.normalize(self.weight))


class Named(nn.Linear):
    """A linear layer under another name."""


@pytest.mark.parametrize("head", [Cosine(D, 3), parametrizations.weight_norm(nn.Linear(D, 3))])
def test_a_head_that_computes_something_else_is_not_replaced_by_one_that_does_not(head: nn.Module) -> None:
    module = nn.Sequential(nn.Flatten(), head)
    with pytest.raises(Refusal, match="does not compute what torch's own layer does") as refusal:
        replace_head(module, "1", 5)
    assert refusal.value.code == "RCP0708" and module[1] is head
    module[1] = Named(D, 3)
    replace_head(module, "1", 5)
    assert module[1].out_features == 5
