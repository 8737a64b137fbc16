"""Networks of transformers: built from a folder with its weights, or again from what was noted of it.

Shared by all methods that take such a folder, whatever their task: `AutoModelForImageClassification`,
`AutoModelForSequenceClassification`, …
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from recipelang.errors import Refusal, did_you_mean
from recipelang.extras import require_libraries
from recipelang.hub import calm, offline
from recipelang.surgery.checkpoints import files_of, read_weights
from recipelang.surgery.hub import HubFolder, refuse_code, unfit
from recipelang.surgery.naming import COUNTER
from recipelang.surgery.room import require_room
from recipelang.surgery.weights import few

#: layers of one kind: the deepest networks have a few hundred
MOST_LAYERS = 4096
#: entries of a configuration that do not decide what is built, or name code, files or types of numbers
_NOT_NOTED = {
    *("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype"),
    *("id2label", "label2id", "num_labels", "attn_implementation", "_attn_implementation", "quantization_config"),
    *("_commit_hash", "_attn_implementation_internal", "_experts_implementation", "experts_implementation"),
    *("use_pretrained_backbone", "problem_type", "finetuning_task"),
}


@dataclass(frozen=True)
class Pretrained:
    """A network of transformers.

    Attributes:
        module: with its weights, float32, in evaluation mode.
        config: what it is built again from (`rebuilt`), as JSON.
        names: its classes as `id2label` names them; () where they are only numbers.
        notes: for the user: a head that is new, weights that were not used.
    """

    module: nn.Module
    config: dict[str, Any]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def require_transformers() -> None:
    """Refuse where transformers is not installed (RCP1027)."""
    require_libraries("model huggingface", ("transformers", "huggingface_hub"), "hf")
    calm()


def load_pretrained(folder: HubFolder, auto: str, what: str, classes: int | None = None) -> Pretrained:
    """Build the network of a folder and load its weights, all of them, or all but the head where `classes` asks.

    Nothing is downloaded, no code of the folder runs, and weights are read as everywhere (`checkpoints.read_weights`).

    Args:
        folder: of the hub, or as `save_pretrained` wrote it.
        auto: the class of transformers that knows the architecture: `AutoModelForImageClassification`.
        what: what that is, for messages: `an image classifier`.
        classes: number of outputs; None: those of the folder. Another number than the folder's gives a new head.

    Raises:
        Refusal: RCP0761: it brings its own code; RCP0762: it is not such a network; RCP0706: its weights cannot be
            read; RCP0707: they do not fit, or have no head; RCP1027: transformers is not installed.
    """
    require_transformers()
    refuse_code(folder)
    if "quantization_config" in folder.config:
        raise unfit(folder.where, "its weights are quantized", "use the folder of the network before quantization")
    told = dict(folder.config)
    names = _names(told)
    config = _config(told, folder.where)
    own = int(getattr(config, "num_labels", 0) or 0)
    if classes is not None and classes != own:
        config.num_labels, names = classes, ()
    kind = _class(config, auto, folder.where, what)
    require_room(folder.where, "its weights are", sum(file.stat().st_size for file in files_of(folder.weights())))
    tensors = read_weights(folder.weights()).tensors
    try:
        with quietly():
            module, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(tensors),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
                local_files_only=True,
            )
    except Exception as error:  # a configuration may make its class raise anything
        raise unfit(folder.where, f"transformers cannot build it: {why(error)}") from error
    notes = _judged(module, report, folder.where, own, int(getattr(config, "num_labels", 0) or 0), classes is not None)
    return Pretrained(module.eval(), noted(config), names, notes)


def rebuilt(config: Mapping[str, Any], auto: str, what: str, classes: int | None) -> nn.Module:
    """The architecture that was noted (`Pretrained.config`), with random weights.

    Raises:
        Refusal: RCP0762: transformers cannot build it; RCP1027: it is not installed.
    """
    require_transformers()
    where = "the saved network"
    found = _config(dict(config), where)
    if classes is not None:
        found.num_labels = classes
    kind = _class(found, auto, where, what)
    try:
        with quietly():
            module: nn.Module = kind(found)
    except Exception as error:  # as above
        raise unfit(where, f"transformers cannot build it: {why(error)}") from error
    return module.eval()


def noted(config: Any) -> dict[str, Any]:
    """What a configuration says that decides the network, as JSON."""
    told = config.to_dict()
    return {name: value for name, value in told.items() if name not in _NOT_NOTED}


@contextmanager
def quietly() -> Iterator[None]:
    """transformers works offline and keeps its progress bars, reports and warnings to itself; what matters is noted."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with offline(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def why(error: Exception) -> str:
    """What transformers says, in one line: its reason is often in the second one."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"


def _config(told: dict[str, Any], where: str) -> Any:
    """The configuration object of a `config.json`."""
    from transformers import CONFIG_MAPPING

    kind = told.get("model_type")
    if kind is None and "architecture" in told:
        name = str(told["architecture"])
        raise unfit(where, f"it is a network of timm, `{name}`", f'write `model timm.{name}(weights="{where}")`')
    if not isinstance(kind, str):
        raise unfit(where, "its `config.json` has no `model_type`", "use a folder written by transformers")
    if kind not in CONFIG_MAPPING:
        guess = did_you_mean(kind, list(CONFIG_MAPPING))
        raise unfit(where, f"transformers has no network of the type `{kind[:60]}`", f"{guess}a later version may")
    kept = {k: v for k, v in told.items() if k not in _NOT_NOTED - {"id2label", "label2id", "num_labels"}}
    try:
        with quietly():
            return CONFIG_MAPPING[kind].from_dict({**kept, "model_type": kind})
    except Exception as error:  # validated by transformers, in its own ways
        raise unfit(where, f"its `config.json` is invalid: {why(error)}") from error


def _class(config: Any, auto: str, where: str, what: str) -> Any:
    """The class that the configuration is of."""
    import transformers

    chooser = getattr(transformers, auto)
    _require_few_layers(config, where)
    try:
        with quietly(), torch.device("meta"):
            shapes = chooser.from_config(config)
        require_room(where, "as its `config.json` says, it is", _size_of(shapes))
        return type(shapes)
    except Refusal:
        raise
    except Exception as error:  # an unknown pair is a ValueError; a wrong configuration anything
        if "Unrecognized configuration class" in str(error):
            wrong = f"transformers has no {auto} for the type `{config.model_type}`, so it is not {what}"
            raise unfit(where, wrong, "use a folder whose network has such a head") from error
        raise unfit(where, f"transformers cannot build it: {why(error)}") from error


def _require_few_layers(config: Any, where: str) -> None:
    """Refuse a configuration of so many layers that building them would never end."""
    for name, value in noted(config).items():
        counts = value if isinstance(value, list | tuple) else [value]
        most = max((count for count in counts if type(count) is int), default=0)
        if ("layer" in name or "depth" in name or "block" in name) and most > MOST_LAYERS:
            raise unfit(where, f"its `config.json` says `{name}`: {most:,}", "download or copy it again")


def _size_of(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes, each once; () where there are none of their own."""
    given = config.get("id2label")
    if not isinstance(given, Mapping):
        return ()
    try:
        names = [str(name) for _, name in sorted((int(key), name) for key, name in given.items())]
    except (TypeError, ValueError):
        return ()
    if all(name == f"LABEL_{k}" for k, name in enumerate(names)):
        return ()
    return tuple(name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names))


def _judged(
    module: nn.Module, report: Mapping[str, Any], where: str, own: int, classes: int, asked: bool
) -> tuple[str, ...]:
    """Refuse weights that do not fit; notes on a new head and on weights without use.

    A head that is new is allowed where the recipe asks for its number of outputs: layers whose first axis, and that of
    the folder's, are the numbers of classes, or which the folder lacks.
    """
    # files of before torch 0.4.1 have no counters of batches, and one that begins at 0 changes no answer
    missing = sorted(name for name in report["missing_keys"] if name.rpartition(".")[2] != COUNTER)
    extra = sorted(report["unexpected_keys"])
    other = {name: (tuple(old), tuple(new)) for name, old, new in report["mismatched_keys"]}
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    heads = {name.rpartition(".")[0] for name in missing if shapes.get(name, ())[:1] == (classes,)}
    heads |= {
        name.rpartition(".")[0]
        for name, (old, new) in other.items()
        if old[1:] == new[1:] and (old[:1], new[:1]) == ((own,), (classes,)) and own != classes
    }
    strange = [name for name in (*missing, *other) if name.rpartition(".")[0] not in heads]
    if strange or report.get("error_msgs"):
        lines = [f"`{name}`" for name in missing if name in strange]
        shown = [f"`{n}` is {_shape(other[n][0])} and should be {_shape(other[n][1])}" for n in other if n in strange]
        parts = [f"missing: {few(lines)}"] * bool(lines) + [f"of another shape: {few(shown)}"] * bool(shown)
        why = "; ".join([*parts, *map(str, report.get("error_msgs", ()))])
        help = "use a folder whose `config.json` and weights belong together"
        raise Refusal("RCP0707", f"the weights of `{where}` do not fit its network; {why}", help)
    if heads and not asked:
        named = few([f"`{name}`" for name in sorted({*missing, *other})])
        raise Refusal(
            "RCP0707",
            f"the weights of `{where}` have no trained head: {named} missing",
            "name the number of classes, as in `classes=10`: the head is a new one, which needs training",
        )
    notes = []
    if heads:
        count = f"{len(heads)} layers" if len(heads) > 1 else f"`{next(iter(heads))}`"
        notes.append(f"the head of `{where}`, {count}, is a new one of {classes} outputs, which needs training")
    if extra:
        listed = few([f"`{name}`" for name in extra])
        notes.append(f"{len(extra)} tensors of `{where}` have no place in the network and are not used: {listed}")
    return tuple(notes)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
