"""`nn.MultiheadAttention` whose heads can be removed: the width of a head is an attribute, not what its width leaves.

torch's layer insists that its heads together are as wide as its input. `Headed` computes the same from the same
parameters under the same names, with any number of heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.tracing import evaluating


class Headed(nn.MultiheadAttention):
    """Attention of `num_heads` heads of `head_dim` channels, from a layer of torch by `unfold`.

    Shapes: as of `nn.MultiheadAttention`; `in_proj_weight` (3·H·D)×E, or the three of its own (H·D)×E; `out_proj` of
    H·D inputs.
    """

    #: the attributes that count channels
    counts: ClassVar[tuple[str, ...]] = ("num_heads",)

    head_dim: int

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Like that of `nn.MultiheadAttention`: the output, and the weights of attention where they are asked for."""
        batched, first = query.ndim == 3, self.batch_first
        alike = query is key and key is value
        if not batched:
            query, key, value = (part.unsqueeze(0 if first else 1) for part in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        if not first:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        q, k, v = self._heads(query, key, value, alike)
        mask = self._mask(q, key_padding_mask, attn_mask)
        dropout = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            weights = functional.dropout(weights, dropout)
            mixed = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return (out if first else out.transpose(0, 1)), weights

    def _heads(self, query: Tensor, key: Tensor, value: Tensor, alike: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values by heads: B×H×T×D."""
        shape = (self.num_heads, self.head_dim)
        if self.in_proj_weight is not None and alike:
            every = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
            q, k, v = (part.unflatten(-1, shape) for part in every.chunk(3, -1))
        else:
            fused = self.in_proj_weight is not None
            matrices = (
                self.in_proj_weight.chunk(3) if fused else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            )
            biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            q, k, v = (
                functional.linear(part, matrix, bias).unflatten(-1, shape)
                for part, matrix, bias in zip((query, key, value), matrices, biases, strict=True)
            )
        if self.bias_k is not None and self.bias_v is not None:
            more = [bias.unflatten(-1, shape).expand(len(k), -1, -1, -1) for bias in (self.bias_k, self.bias_v)]
            k, v = torch.cat([k, more[0]], 1), torch.cat([v, more[1]], 1)
        if self.add_zero_attn:
            k, v = (functional.pad(part, (0, 0, 0, 0, 0, 1)) for part in (k, v))
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _mask(self, like: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Both masks as numbers to add to the scores, broadcast over B×H×T×S; None where there is none."""
        added = (self.bias_k is not None) + self.add_zero_attn  # keys that are never masked

        def summand(given: Tensor) -> Tensor:
            if given.dtype == torch.bool:
                given = torch.zeros_like(given, dtype=like.dtype).masked_fill_(given, -math.inf)
            return functional.pad(given, (0, added))

        images = None if padding is None else summand(padding)[:, None, None]
        if mask is None:
            return images
        scores = summand(mask)
        scores = scores.unflatten(0, (-1, self.num_heads)) if scores.ndim == 3 else scores
        return scores if images is None else images + scores


def unfold(module: nn.Module, paths: Iterable[str]) -> None:
    """Make these layers `Headed`, in place: they keep their parameters and paths, and compute the same.

    Raises:
        AttributeError: there is no such module.
        TypeError: it is not an `nn.MultiheadAttention`.
    """
    for path in paths:
        part = module.get_submodule(path)
        if isinstance(part, Headed):
            continue
        if type(part) is not nn.MultiheadAttention:
            raise TypeError(f"`{path}` is not an nn.MultiheadAttention")
        part.__class__ = Headed
        part._qkv_same_embed_dim = False  # torch's encoders then do not read its weights


@contextmanager
def unfolded(module: nn.Module, paths: Iterable[str]) -> Iterator[None]:
    """Inside the block these layers are `Headed`."""
    parts: list[Any] = [part for path in paths if type(part := module.get_submodule(path)) is nn.MultiheadAttention]
    same = [part._qkv_same_embed_dim for part in parts]
    try:
        unfold(module, paths)
        yield
    finally:
        for part, old in zip(parts, same, strict=True):
            part.__class__, part._qkv_same_embed_dim = nn.MultiheadAttention, old


def foldable(module: nn.Module, example: Tensor) -> tuple[str, ...]:
    """The layers of a network that can be unfolded: all, where the network then answers as before, else none."""
    paths = tuple(path for path, part in module.named_modules() if type(part) is nn.MultiheadAttention)
    if not paths:
        return ()
    try:
        with evaluating(module):
            expected = answers_in(module(example))
            with unfolded(module, paths):
                same = largest_difference(answers_in(module(example)), expected) <= TOLERANCE
    except Exception:  # the module is the user's, and may look into its layers
        same = False
    return paths if same else ()
