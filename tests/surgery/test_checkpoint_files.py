"""Files of weights: what is no file of weights, networks in parts, safetensors and shards."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from state_dicts import IMAGES, load, net, under

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.surgery.checkpoints import files_of, read_weights


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (b"<!DOCTYPE html><html>", "web page"),
    ],
)
def test_files_that_are_no_weights_at_all(start: bytes, words: str, tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(start)
        with pytest.raises(Refusal, match=words) as caught:
            read_weights(tmp_path / name)
        assert caught.value.code == "RCP0706"


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    (tmp_path / "folder.pt").mkdir()
    for name, words in (
        ("pipe.pt", "`pipe.pt` is not a file"), ("zero.pt", "`zero.pt` is not a file"),
        ("folder.pt", "is a folder, not a weights file"), ("a\x00b.pt", "there is no weights file"),
        ("x" * 5000, "there is no weights file|cannot be read"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=words) as caught:
            read_weights(tmp_path / name)
        assert caught.value.code == "RCP0706"


@pytest.mark.parametrize(
    ("parts", "given", "words", "command"),
    [
        (["global_step9/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"], "", "DeepSpeed", "zero_to_fp32.py saved"),
        (["zero_pp_rank_0_mp_rank_00_model_states.pt"], "", "DeepSpeed", "zero_to_fp32.py FOLDER"),
        (["zero_pp_rank_1_mp_rank_00_model_states.pt"] * 2, "zero_pp_rank_1_mp_rank_00_model_states.pt", "DeepSpeed",
         "zero_to_fp32.py FOLDER"),
        ([".metadata", "__0_0.distcp"], "", "FSDP", "dcp_to_torch saved"),
        ([".metadata", "__0_0.distcp"], "__0_0.distcp", "FSDP", "dcp_to_torch FOLDER"),
    ],
)  # fmt: skip
def test_a_network_in_parts_says_how_to_join_them(
    parts: list[str], given: str, words: str, command: str, tmp_path: Path
) -> None:
    for part in parts:
        (tmp_path / "saved" / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "saved" / part).write_bytes(b"PK")
    with pytest.raises(Refusal, match=f"holds a network in parts.*{words}") as caught:
        read_weights(tmp_path / "saved" / given)
    assert caught.value.code == "RCP0706" and command in caught.value.help


def test_what_joins_the_parts_of_fsdp_gives_the_network(tmp_path: Path) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: one process alone
        checkpoint.save({"model": net().state_dict()}, checkpoint_id=tmp_path / "parts", no_dist=True)
    with pytest.raises(Refusal, match="in parts"):
        read_weights(tmp_path / "parts")
    dcp_to_torch_save(tmp_path / "parts", tmp_path / "plain.pt")
    assert torch.equal(load(tmp_path / "plain.pt").module.eval()(IMAGES), net()(IMAGES))


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    state = dict(net().state_dict())
    save_file(state, tmp_path / "w.bin")
    torch.save(state, tmp_path / "w.safetensors")
    for name in ("w.bin", "w.safetensors"):
        assert torch.equal(load(tmp_path / name).module.eval()(IMAGES), net()(IMAGES))


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_shards_are_read_by_their_index(form: str, tmp_path: Path) -> None:
    state = under("model.", net().state_dict())
    names = sorted(state)
    where = {}
    for number, part in enumerate((names[:3], names[3:])):
        shard = f"model-{number}.{form}"
        tensors = {name: state[name] for name in part}
        save_file(tensors, tmp_path / shard) if form == "safetensors" else torch.save(tensors, tmp_path / shard)
        where |= dict.fromkeys(part, shard)
    index = tmp_path / f"model.{form}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    assert torch.equal(load(index).module.eval()(IMAGES), net()(IMAGES))
    shards = [tmp_path / f"model-{number}.{form}" for number in range(2)]
    for model in ("resnet20", "torchvision"):  # a changed shard is a changed network
        named = {"architecture": "resnet18"} if model == "torchvision" else {}
        assert find("model", model)(weights=str(index), **named).files(Path) == (index, *shards)
    (tmp_path / f"model-1.{form}").rename(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match=f"no weights file `model-1.{form}`"):
        read_weights(index)
    for hostile in ("../x.safetensors", "/etc/passwd", "model.safetensors.index.json"):
        index.write_text(json.dumps({"weight_map": {"a": hostile}}))
        with pytest.raises(Refusal, match="names a shard outside its own folder"):
            read_weights(index)
    for broken in ("{", "[]", '{"weight_map": 3}', "[" * 100_000):
        index.write_text(broken)
        with pytest.raises(Refusal) as caught:
            read_weights(index)
        assert caught.value.code == "RCP0706" and files_of(index) == (index,)
