"""Mapping the names of foreign weights to those of the network: wrapper prefixes removed, pruning masks applied."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.parameter import is_lazy

from recipelang.errors import Refusal

#: what DataParallel, Lightning and others put before every name
PREFIXES = {"module", "model", "net", "network", "backbone", "online_model", "_orig_mod"}
#: what stands before the names of averaged weights: used where a file has no others
EMA_PREFIXES = {"ema_model", "model_ema", "ema"}
#: what torch.compile, FSDP and activation checkpointing put inside names
INSERTED = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNTER = "num_batches_tracked"
#: entries of torch's AveragedModel and of ema-pytorch, besides the weights
AVERAGED = {"n_averaged", "initted", "step"}
#: endings of names that a parametrization leaves, and what removes it
PARAMETRIZED = {
    "_g": "weight_norm, which `torch.nn.utils.remove_weight_norm` removes",
    "_u": "spectral_norm, which `torch.nn.utils.remove_spectral_norm` removes",
}


@dataclass(frozen=True)
class MatchedWeights:
    """Weights by the network's own names, and notes for the user on how they were matched."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def named_for(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> MatchedWeights:
    """Give weights the names that a network has for them, where they differ only by wrappers and masks.

    Args:
        weights: by their names in a file.
        own: the network's state.
        what: where the weights come from, for the message.

    Returns:
        the weights by the network's names as far as they could be found; `load_weights` reports what is left over.

    Raises:
        Refusal: RCP0707: every name has an unusual prefix, or they were saved under a parametrization.
    """
    needed = [names for names in tied(own) if not names[0].endswith(COUNTER)]
    if all(any(name in weights for name in names) for names in needed):
        return MatchedWeights(dict(weights))
    found, notes = _masked(_without_inserted(weights, own), own)
    fitting = _fitting_prefixes(found, needed)
    if "" not in fitting and fitting:
        usual = [prefix for prefix in fitting if set(prefix.split(".")) <= PREFIXES]
        usual = usual or [prefix for prefix in fitting if set(prefix.split(".")) <= PREFIXES | EMA_PREFIXES]
        if len(usual) != 1:
            raise _which_prefix(fitting, what)
        others = [prefix for prefix in fitting if prefix != usual[0]]
        if others:
            notes = (*notes, f"the weights are those under `{usual[0]}`; `at` takes {_listed(others)}")
        found = {
            name.removeprefix(f"{usual[0]}."): tensor
            for name, tensor in found.items()
            if name not in AVERAGED and not any(name.startswith(f"{other}.") for other in others)
        }
    _require_plain(found, own, what)
    return MatchedWeights(found, notes)


def _without_inserted(weights: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    gone = INSERTED - {part for name in own for part in name.split(".")}
    return {".".join(part for part in name.split(".") if part not in gone): t for name, t in weights.items()}


def _masked(weights: dict[str, Tensor], own: Collection[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`weight_orig` and `weight_mask`, which torch.nn.utils.prune leaves, as the weight that they define."""
    stems = [name.removesuffix("_orig") for name in weights if name.endswith("_orig") and name not in own]
    stems = [stem for stem in stems if f"{stem}_mask" in weights and stem not in weights]
    if not stems or any(name.endswith("_orig") for name in own):
        return weights, ()
    gone = {f"{stem}{end}" for stem in stems for end in ("_orig", "_mask")}
    found = {name: tensor for name, tensor in weights.items() if name not in gone}
    for stem in stems:
        kept = weights[f"{stem}_orig"]
        found[stem] = kept * weights[f"{stem}_mask"].to(kept.dtype)
    count = f"the mask{'s' * (len(stems) > 1)} of {len(stems)} weight{'s' * (len(stems) > 1)}"
    return found, (f"{count} left by torch's pruning {'are' if len(stems) > 1 else 'is'} applied",)


def tied(own: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """The names of a state, grouped by tensor: a file may hold a shared tensor under one of its names."""
    groups: dict[object, list[str]] = {}
    for name, tensor in own.items():
        shared = isinstance(tensor, Tensor) and tensor.numel() and not is_lazy(tensor)
        groups.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()) if shared else name, []).append(name)
    return [tuple(names) for names in groups.values()]


def _fitting_prefixes(weights: Mapping[str, Tensor], needed: list[tuple[str, ...]]) -> list[str]:
    """Every prefix, without its dot, under which the file has all names of the network."""
    if not needed:
        return []
    longest = max(needed, key=lambda names: names[0].count("."))
    prefixes = {f".{name}".removesuffix(f".{one}").lstrip(".") for name in weights for one in longest
                if f".{name}".endswith(f".{one}")}  # fmt: skip
    return sorted(
        prefix
        for prefix in prefixes
        if all(any((f"{prefix}.{name}" if prefix else name) in weights for name in names) for names in needed)
    )


def _which_prefix(prefixes: list[str], what: str) -> Refusal:
    removed = "one of the prefixes" if len(prefixes) > 1 else "the prefix"
    return Refusal(
        "RCP0707",
        f"{what} do not fit the network by their names; they would without {removed} {_listed(prefixes)}",
        f'write `at="{prefixes[0]}"` after `weights`',
    )


def _require_plain(weights: Mapping[str, Tensor], own: Collection[str], what: str) -> None:
    for name in weights:
        head, _, _ = name.partition("parametrizations.")
        if head != name and name not in own:
            raise _parametrized(name, what, "`torch.nn.utils.parametrize.remove_parametrizations` removes it")
        for end, how in PARAMETRIZED.items():
            stem = name.removesuffix(end)
            if stem != name and name not in own and stem in own and f"{stem}_v" in weights:
                raise _parametrized(name, what, how)


def _parametrized(name: str, what: str, how: str) -> Refusal:
    return Refusal(
        "RCP0707",
        f"{what} do not fit the network: `{name}` is part of a weight that was parametrized when it was saved",
        f"save them without the parametrization: {how}",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
