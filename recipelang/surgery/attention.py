"""Self-attention made of layers that are called: `nn.MultiheadAttention` uses its weights directly, so that none of
them could be replaced with another form."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipelang.surgery.headed import Headed
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.tracing import evaluating, hooked


class SelfAttention(nn.Module):
    """What `nn.MultiheadAttention` computes from one sequence without masks, in evaluation mode.

    Args:
        attention: the original; its weights are shared, not copied.

    Shapes: query B×T×E (T×B×E where the original is not batch_first) → the same, and None for the attention weights.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.batch_first = attention.batch_first
        self.shape = (attention.num_heads, attention.head_dim)
        self.in_proj = _linear(attention.in_proj_weight, attention.in_proj_bias)
        self.out_proj = _linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(self, query: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        """The query attends to itself; the original's other arguments were found to be the same tensor or absent."""
        x = query if self.batch_first else query.transpose(0, 1)
        parts = self.in_proj(x).unflatten(-1, (3, *self.shape)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        y = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return (y if self.batch_first else y.transpose(0, 1)), None


def unfold_attention(module: nn.Module, example: Tensor) -> nn.Module:
    """The module with every plain self-attention computed by layers that are called; unchanged where there is none.

    Plain: an exact `nn.MultiheadAttention`, or one in the form of `headed`, that is only ever called with one tensor as
    query, key and value, without masks, and whose attention weights are never requested. Found by running; the outcome
    is compared with the original.
    """
    plain = _plain(module, example)
    if not plain:
        return module
    unfolded = copy.deepcopy(module)
    for path in plain:
        attention: Any = unfolded.get_submodule(path)
        unfolded.set_submodule(path, SelfAttention(attention).eval())
    try:
        with evaluating(module), evaluating(unfolded):
            same = relative_difference(unfolded(example), module(example)) <= TOLERANCE
    except AttributeError:  # the owner of the attention reads its weights
        same = False
    return unfolded if same else module


def original_path(module: nn.Module, path: str) -> str:
    """The path that a layer of an unfolded module has in the original: that of the attention for its `in_proj`."""
    parent, _, leaf = path.rpartition(".")
    return parent if leaf == "in_proj" and isinstance(module.get_submodule(parent), SelfAttention) else path


def _plain(module: nn.Module, example: Tensor) -> list[str]:
    found: dict[str, bool] = {}

    def watch(path: str, part: nn.MultiheadAttention) -> Any:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found[path] = found.get(path, True) and _is_plain(part, args, kwargs)

        return part.register_forward_pre_hook(before, with_kwargs=True)

    parts = [
        (path, part)
        for path, part in module.named_modules()
        if type(part) in (nn.MultiheadAttention, Headed) and not _read_by_its_owner(module, path)
    ]
    with hooked([watch(path, part) for path, part in parts]), evaluating(module):
        if parts:
            module(example)
    return [path for path, plain in found.items() if path and plain]


def _read_by_its_owner(module: nn.Module, path: str) -> bool:
    """torch's own encoder layer reads the weights of its attention and calls it only while it is hooked."""
    owner, part = module.get_submodule(path.rpartition(".")[0]), module.get_submodule(path)
    return isinstance(owner, nn.TransformerEncoderLayer) and not isinstance(part, Headed)


def _is_plain(part: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = {"need_weights": True, **dict(zip(names, args, strict=False)), **kwargs}
    query = given.get("query")
    return (
        isinstance(query, Tensor)
        and query.ndim == 3
        and given.get("key") is query
        and given.get("value") is query
        and given.get("key_padding_mask") is None
        and given.get("attn_mask") is None
        and not given["need_weights"]
        and part.in_proj_weight is not None
        and part.bias_k is None
        and part.bias_v is None
        and not part.add_zero_attn
    )


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer that holds these tensors themselves."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=torch.device("meta"))
    layer.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight)
    if bias is not None:
        layer.bias = bias if isinstance(bias, nn.Parameter) else nn.Parameter(bias)
    return layer.requires_grad_(False)
