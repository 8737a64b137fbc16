"""What cannot be loaded gets a message with its name, whatever a file holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_dicts import IMAGES, State, load, net, saved, under
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from recipelang.errors import Refusal
from recipelang.surgery.checkpoints import read_weights
from recipelang.surgery.naming import named_for
from recipelang.surgery.weights import load_weights


def weight_normed() -> nn.Module:
    module = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(module[4])
    return module


def with_parametrization() -> nn.Module:
    module = net()
    parametrizations.weight_norm(module[4])
    assert parametrize.is_parametrized(module[4])
    return module


def changed(name: str, change: Callable[[Tensor], Tensor]) -> State:
    state = dict(net().state_dict())
    return {**state, name: change(state[name])}


def quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a whole network": (lambda: nn.Sequential(nn.Linear(2, 2)), r"not plain tensors: .*torch.nn.modules"),
    "weight_norm": (lambda: weight_normed().state_dict(), "`4.weight_g` is part of a weight that was parametrized"),
    "a parametrization": (lambda: with_parametrization().state_dict(), "`4.parametrizations.weight.original0`"),
    "float8": (lambda: changed("4.weight", lambda t: t.to(torch.float8_e4m3fn)), "`4.weight` is float8_e4m3fn"),
    "complex": (lambda: changed("4.weight", lambda t: t.to(torch.complex64)), "`4.weight` is complex64, not float32"),
    "int8": (lambda: changed("4.weight", lambda t: t.to(torch.int8)), "`4.weight` is int8, not float32"),
    "sparse": (lambda: changed("4.weight", lambda t: t.to_sparse()), "`4.weight` is sparse"),
    "quantised": (lambda: changed("4.weight", quantised), "`4.weight` is quantised"),
    "no values": (lambda: changed("4.weight", lambda t: t.to("meta")), "`4.weight` is without values"),
    "a float for a counter": (lambda: changed("1.num_batches_tracked", lambda t: t + 0.5), "is float32, not int64"),
    "too large for float32": (lambda: changed("4.weight", lambda t: t.double() + 1e300), "NaN or infinity: `4.weight`"),
    "no tensors": (lambda: {"epoch": 3, "loss": torch.tensor(0.1)}, "holds no state dict"),
    "an optimizer alone": (lambda: torch.optim.Adam(net().parameters()).state_dict(), "holds no state dict"),
    "numbers for keys": (lambda: {0: torch.zeros(3)}, "holds no state dict"),
    "a list": (lambda: [torch.zeros(3)], "holds no state dict"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_loaded_is_named(case: str, tmp_path: Path) -> None:
    make, words = REFUSED[case]
    with pytest.raises(Refusal, match=words) as caught:
        load(saved(tmp_path, make()))
    assert caught.value.code in ("RCP0706", "RCP0707") and caught.value.help


class Settings:
    """What a training script stores beside its weights."""


def test_lightning_with_objects_beside_the_weights_says_what_to_save(tmp_path: Path) -> None:
    beside = {"pytorch-lightning_version": "2.4.0", "hyper_parameters": {"config": Settings()}}
    path = saved(tmp_path, {"state_dict": under("model.", net().state_dict()), **beside}, "last.ckpt")
    with pytest.raises(Refusal, match="checkpoint of Lightning holds objects .*Settings") as caught:
        read_weights(path)
    assert caught.value.code == "RCP0706" and 'torch.save(ckpt["state_dict"]' in caught.value.help
    torch.save(torch.load(path, weights_only=False)["state_dict"], tmp_path / "plain.pt")
    assert torch.equal(load(tmp_path / "plain.pt").module.eval()(IMAGES), net()(IMAGES))


LEAVES = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(
    [torch.zeros(2), torch.tensor(1.0), torch.eye(2).to_sparse(), torch.zeros(2, device="meta"), torch.ones(1).half()]
)  # fmt: skip
KEYS = st.sampled_from(["state_dict", "model", "module.0.weight", "0.weight", "ema", "optimizer", "", ".", "a.b"])
NESTED = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner, max_size=4)
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=NESTED, at=st.sampled_from(["", "state_dict", "a.b", "a", ".", "model.module.0", "..", "0"]))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path: Path, value: Any, at: str) -> None:
    path = saved(tmp_path, value)
    try:
        read = read_weights(path, at)
        assert read.tensors and all(isinstance(t, Tensor) for t in read.tensors.values())
        named = named_for(read.tensors, net().state_dict(), "the weights")
        load_weights(net(), named.tensors, "the weights")
    except Refusal as refusal:
        assert refusal.code in ("RCP0706", "RCP0707", "RCP0742", "RCP0743") and len(refusal.message) < 1000
