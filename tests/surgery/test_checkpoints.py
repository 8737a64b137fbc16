"""State dicts as found in practice: each kind of file gives exactly the network of its weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from state_dicts import IMAGES, State, load, net, saved, under
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from recipelang.errors import Refusal
from recipelang.surgery.checkpoints import EMA_WRAPPERS, WRAPPERS, read_weights
from recipelang.surgery.naming import EMA_PREFIXES, PREFIXES, named_for
from recipelang.surgery.weights import load_weights


def averaged(module: nn.Module) -> State:
    return dict(AveragedModel(module).state_dict())


def compiled(module: nn.Module) -> State:
    return dict(torch.compile(module).state_dict())  # type: ignore[attr-defined]


#: what people save → how it is made of a network; each must give back that very network
HABITS: dict[str, Callable[[nn.Module], Any]] = {
    "a state dict": lambda n: n.state_dict(),
    "DataParallel": lambda n: nn.DataParallel(n).state_dict(),
    "torch.compile": compiled,
    "DataParallel of compiled": lambda n: under("module.", compiled(n)),
    "compiled DataParallel": lambda n: under("_orig_mod.module.", dict(n.state_dict())),
    "Lightning": lambda n: {"state_dict": under("model.", n.state_dict()), "pytorch-lightning_version": "2.1"},
    "Lightning of compiled": lambda n: {"state_dict": under("model._orig_mod.", n.state_dict()), "epoch": 3},
    "Lightning of another name": lambda n: {"state_dict": under("net.", n.state_dict())},
    "a compiled layer": lambda n: {k.replace("0.", "0._orig_mod.", 1) if k[0] == "0" else k: v
                                   for k, v in n.state_dict().items()},
    "FSDP": lambda n: under("_fsdp_wrapped_module.", n.state_dict()),
    "an averaged model": averaged,
    "with its optimizer": lambda n: {
        "model_state_dict": n.state_dict(),
        "optimizer_state_dict": torch.optim.AdamW(n.parameters()).state_dict(),
        "loss": torch.tensor(0.3), "epoch": 4,
    },
    "arguments": lambda n: {"model": n.state_dict(), "args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    "nested": lambda n: {"state": {"model": {"weights": n.state_dict()}}, "history": [1, 2]},
    "beside numbers": lambda n: {**n.state_dict(), "epoch": 3, "name": "x"},
    "parameters": lambda n: dict(n.named_parameters()) | dict(n.named_buffers()),
    "without counters": lambda n: {k: v for k, v in n.state_dict().items() if "num_batches" not in k},
    "double": lambda n: {k: v.double() if v.is_floating_point() else v for k, v in n.state_dict().items()},
    "an unknown name for one state dict": lambda n: {"my_net_v2": n.state_dict(), "step": 1},
    "EMA beside it": lambda n: {"state_dict_ema": net(7).state_dict(), "state_dict": n.state_dict()},
    "EMA inside it": lambda n: {"state_dict": {**under("model.", n.state_dict()),
                                               **under("model_ema.", net(7).state_dict())}},
    "Lightning around a backbone": lambda n: {"state_dict": under("model.backbone.", n.state_dict()),
                                              "hyper_parameters": {"lr": 0.1}},
    "EMA alone": lambda n: {"state_dict_ema": n.state_dict(), "epoch": 3},
    "EMA of timm's training": lambda n: {"arch": "x", "optimizer": {"state": {}},
                                         "state_dict": n.state_dict(), "state_dict_ema": net(7).state_dict()},
    "ema-pytorch": lambda n: {**under("online_model.", n.state_dict()), **under("ema_model.", net(7).state_dict()),
                              "initted": torch.tensor(True), "step": torch.tensor(9)},
    "the average of ema-pytorch": lambda n: {**under("ema_model.", n.state_dict()), "step": torch.tensor(9)},
    "DeepSpeed": lambda n: {"module": n.state_dict(), "optimizer": None, "ds_version": "0.15",
                            "param_shapes": [{k: v.shape for k, v in n.named_parameters()}]},
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pt", "pth.tar", "bin", "ckpt"])
@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_network(habit: str, suffix: str, tmp_path: Path) -> None:
    original = net()
    network = load(saved(tmp_path, HABITS[habit](original), f"w.{suffix}"))
    assert torch.equal(network.module.eval()(IMAGES), original(IMAGES))
    assert all(p.dtype == torch.float32 for p in network.module.parameters())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_half_precision_is_loaded_into_float32(kind: torch.dtype, form: str, tmp_path: Path) -> None:
    state = {k: v.to(kind) if v.is_floating_point() else v for k, v in net().state_dict().items()}
    path = tmp_path / f"w.{form}"
    save_file(state, path) if form == "safetensors" else torch.save(state, path)
    found = load(path).module.state_dict()
    assert all(torch.equal(found[k], v.to(found[k].dtype)) for k, v in state.items())
    assert found["0.weight"].dtype == torch.float32


def test_masks_of_torchs_pruning_are_applied(tmp_path: Path) -> None:
    module = net()
    prune.l1_unstructured(module[0], "weight", 0.5)
    prune.random_unstructured(module[4], "bias", 2)
    path = saved(tmp_path, {"state_dict": under("module.", module.state_dict())})
    network = load(path)
    assert torch.equal(network.module.eval()(IMAGES), module(IMAGES))
    assert int((network.module[0].weight == 0).sum()) == 81
    read = read_weights(path)
    assert named_for(read.tensors, net().state_dict(), "w").notes == (
        "the masks of 2 weights left by torch's pruning are applied",
    )


def test_of_several_the_usual_one_is_taken_and_at_takes_another(tmp_path: Path) -> None:
    ema, plain = net(7), net(1)
    both = {"state_dict_ema": ema.state_dict(), "state_dict": plain.state_dict()}
    path = saved(tmp_path, both)
    assert read_weights(path).note == "the weights are `state_dict` of `w.pt`; `at` takes `state_dict_ema`"
    network = load(path)
    assert torch.equal(network.module.eval()(IMAGES), plain(IMAGES))
    assert network.habits.notes == (read_weights(path).note,)  # which the run and the report show
    assert torch.equal(load(path, "state_dict_ema").module.eval()(IMAGES), ema(IMAGES))
    assert read_weights(path, "state_dict_ema").note == ""
    nested = saved(tmp_path, {"train.v1": {"nets": {"a": plain.state_dict(), "b": under("module.", ema.state_dict())}}})
    assert torch.equal(load(nested, "train.v1.nets.b").module.eval()(IMAGES), ema(IMAGES))


def test_of_several_without_a_usual_name_the_user_picks(tmp_path: Path) -> None:
    path = saved(tmp_path, {"generator": net(1).state_dict(), "critic": net(7).state_dict()})
    with pytest.raises(Refusal, match="several state dicts: `generator`, `critic`") as caught:
        read_weights(path)
    assert caught.value.code == "RCP0742"
    assert torch.equal(load(path, "critic").module.eval()(IMAGES), net(7)(IMAGES))
    with pytest.raises(Refusal, match="nothing under `actor`") as caught:
        read_weights(saved(tmp_path, {"generator": net(1).state_dict()}), "actor")
    assert caught.value.code == "RCP0743" and "`generator`" in caught.value.help


@pytest.mark.parametrize("prefix", ["trunk", "encoder.body", "my_net"])
def test_an_unusual_prefix_is_named_and_at_takes_it_off(prefix: str, tmp_path: Path) -> None:
    state = {**under(f"{prefix}.", net().state_dict()), "projector.weight": torch.zeros(3)}
    path = saved(tmp_path, {"state_dict": state})
    with pytest.raises(Refusal, match=f"they would without the prefix `{prefix}`") as caught:
        load(path)
    assert caught.value.code == "RCP0707" and f'at="{prefix}"' in caught.value.help
    assert torch.equal(load(path, prefix).module.eval()(IMAGES), net()(IMAGES))
    assert torch.equal(load(path, f"state_dict.{prefix}").module.eval()(IMAGES), net()(IMAGES))


def test_two_unusual_prefixes_are_both_named(tmp_path: Path) -> None:
    path = saved(tmp_path, {**under("student.", net(1).state_dict()), **under("teacher.", net(7).state_dict())})
    with pytest.raises(Refusal, match="without one of the prefixes `student`, `teacher`"):
        load(path)
    assert torch.equal(load(path, "teacher").module.eval()(IMAGES), net(7)(IMAGES))


def test_what_lies_beside_the_prefix_is_listed_and_at_leaves_it_out(tmp_path: Path) -> None:
    path = saved(tmp_path, {**under("model.", net().state_dict()), "criterion.weight": torch.ones(5)})
    with pytest.raises(Refusal, match=r"not in the network: `criterion.weight` 5$") as caught:
        load(path)
    assert "`at` selects those under one prefix" in caught.value.help
    assert torch.equal(load(path, "model").module.eval()(IMAGES), net()(IMAGES))


def test_another_number_of_classes_under_a_prefix(tmp_path: Path) -> None:
    original = net(classes=3)
    network = load(saved(tmp_path, nn.DataParallel(original).state_dict()))
    assert torch.equal(network.module.eval()(IMAGES), original(IMAGES)) and len(network.classes) == 3


def test_a_network_whose_own_names_begin_like_a_wrapper(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.module = nn.ModuleDict({"model": net(seed)})

        def forward(self, x: Tensor) -> Tensor:
            return self.module["model"](x)  # type: ignore[no-any-return]

    original, other = Wrapped(1).eval(), Wrapped(2).eval()
    for prefix in ("", "module.", "model."):
        named = named_for(under(prefix, original.state_dict()), other.state_dict(), "the weights")
        load_weights(other, named.tensors, "the weights")
        assert torch.equal(other(IMAGES), original(IMAGES))
        other = Wrapped(2).eval()


def test_weights_that_are_one_may_stand_under_one_name(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    module[1].weight = module[0].weight
    state = {k: v + 1 for k, v in module.state_dict().items() if k != "1.weight"}
    load_weights(module, named_for(under("module.", state), module.state_dict(), "w").tensors, "w")
    assert torch.equal(module[1].weight, state["0.weight"])


@given(st.lists(st.sampled_from(sorted(PREFIXES)), max_size=4), st.booleans())
def test_any_nesting_of_the_usual_wrappers_comes_off(parts: list[str], counters: bool) -> None:
    own = net().state_dict()
    state = {k: v for k, v in own.items() if counters or "num_batches" not in k}
    prefix = "".join(f"{part}." for part in parts)
    assert named_for(under(prefix, state), own, "w").tensors.keys() == state.keys()


ROUNDED = {k: v.half().float() if v.is_floating_point() else v for k, v in net().state_dict().items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefix=st.lists(st.sampled_from(sorted(PREFIXES | EMA_PREFIXES)), max_size=3),
    wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=3),
    kind=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    beside=st.sets(st.sampled_from(["optimizer", "hyper_parameters", "epoch", *EMA_WRAPPERS])),
    safe=st.booleans(),
)
def test_any_composition_of_wrappings_gives_the_same_network(
    prefix: list[str], wrappers: list[str], kind: torch.dtype, beside: set[str], safe: bool, tmp_path: Path
) -> None:
    state = {k: v.to(kind) if v.is_floating_point() else v for k, v in ROUNDED.items()}
    state = under("".join(f"{part}." for part in prefix), state)
    value: Any = state
    for name in wrappers:
        value = {name: value}
    if wrappers and not set(wrappers) & set(EMA_WRAPPERS):  # of averaged weights alone, the first would be another
        value = dict.fromkeys(beside, net(7).state_dict()) | value | {"epoch": 3, "hyper_parameters": {"lr": 0.1}}
    path = tmp_path / "w.pt"
    save_file(state, path) if safe else torch.save(value, path)
    found = load(path).module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in ROUNDED.items())
