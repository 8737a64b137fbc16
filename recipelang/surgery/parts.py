"""Checkpoints that cannot be read as they are: parts of DeepSpeed and FSDP, objects beside the weights of Lightning.

Each is refused with the command that makes a plain file of it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from recipelang.errors import Refusal

#: files that DeepSpeed writes, one for each process: ZeRO's optimizer states, and with stage 3 the weights as well
_DEEPSPEED = re.compile(r"(bf16_)?zero_pp_rank_\d+_mp_rank_\d+_(optim|model)_states\.pt")
#: a part that torch.distributed.checkpoint writes, and the index of all parts
_PART, _INDEX = ".distcp", ".metadata"
_MOST_PICKLE_BYTES = 2**24


def refuse_parts(path: Path) -> None:
    """Refuse a file or folder that holds one network in parts, one for each process of a training (RCP0706)."""
    folder = path.is_dir()
    names = [each.name for each in path.iterdir()] if folder else [path.name]
    where = path.name if folder else "FOLDER"
    if any(name.endswith(_PART) for name in names) or (folder and _INDEX in names):
        raise _in_parts(
            path.name,
            "torch.distributed.checkpoint, as FSDP saves them",
            f"`python -m torch.distributed.checkpoint.format_utils dcp_to_torch {where} plain.pt`",
        )
    below = [each.name for part in path.glob("global_step*") for each in _listed(part)] if folder else []
    if any(_DEEPSPEED.fullmatch(name) for name in [*names, *below]):
        where = where if below or not folder else "FOLDER"
        raise _in_parts(
            path.name,
            "DeepSpeed",
            f"`python zero_to_fp32.py {where} plain` with the script that DeepSpeed put beside `global_step…`",
        )


def refuse_distributed(tensors: Mapping[str, Tensor], shown: str) -> None:
    """Refuse a state dict whose tensors are the shares of one process (RCP0706)."""
    shares = [name for name, tensor in tensors.items() if type(tensor).__name__ in ("DTensor", "ShardedTensor")]
    if shares:
        raise Refusal(
            "RCP0706",
            f"the weights file `{shown}` cannot be read: `{shares[0]}` is the share of one process of a training",
            "gather the weights before saving them: `get_model_state_dict(net, options=StateDictOptions("
            "full_state_dict=True))` of `torch.distributed.checkpoint.state_dict`",
        )


def lightning_needs_code(path: Path, what: str) -> Refusal | None:
    """The refusal of a checkpoint of Lightning with objects beside its weights; None for other files.

    Args:
        path: a torch file that holds objects which need code.
        what: which, as the end of the message.
    """
    if b"pytorch-lightning_version" not in _pickle_of(path):
        return None
    return Refusal(
        "RCP0706",
        f"the weights file `{path.name}` cannot be read: this checkpoint of Lightning holds objects that are not plain "
        f"tensors, in `hyper_parameters` or beside them{what}",
        f'if you trust it, save only its weights: `ckpt = torch.load("{path.name}", weights_only=False)`, then '
        '`torch.save(ckpt["state_dict"], "plain.pt")`; `save_hyperparameters(ignore=[…])` keeps them out of the next',
    )


def _pickle_of(path: Path) -> bytes:
    """The names and containers of a torch file, without its tensors; empty where it is of the old form."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(name) as file:
                return file.read(_MOST_PICKLE_BYTES)
    except (OSError, ValueError, StopIteration, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return b""


def _listed(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _in_parts(name: str, whose: str, command: str) -> Refusal:
    return Refusal(
        "RCP0706",
        f"`{name}` holds a network in parts, one for each process of its training ({whose})",
        f"join them first: {command}",
    )
