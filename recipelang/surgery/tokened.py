"""Vision transformers with a distillation token: one more token, and one more head that reads it.

The token is the last of the sequence. Its place in the position embedding, where that has one, is part of the token:
both are vectors that are trained, and only their sum is read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: the names of the parameter and of the head in the network
TOKEN, HEAD = "dist_token", "head_dist"
#: (room, class) of the transformers that can have one → the path of the head that they have
KNOWN: Mapping[tuple[str, str], str] = {
    ("timm.models.vision_transformer", "VisionTransformer"): "head",
    ("torchvision.models.vision_transformer", "VisionTransformer"): "heads",
}


def has_token(module: nn.Module) -> bool:
    """Whether a network has a distillation token, as `add_token` leaves it or as a library built it."""
    return isinstance(getattr(module, TOKEN, None), nn.Parameter) and isinstance(getattr(module, HEAD, None), nn.Module)


def why_no_token(module: nn.Module) -> str:
    """Why a network cannot have a distillation token; "" where it can."""
    base = _base(module)
    if base is None:
        return "it is not a vision transformer of timm or torchvision"
    kind = type(module)
    own = (
        ("forward_features", "forward_head", "_pos_embed", "pool") if _of_timm(base) else ("forward", "_process_input")
    )
    changed = next((name for name in own if getattr(kind, name) is not getattr(base, name)), None)
    if changed:
        return f"its `{changed}` is not that of {base.__name__}"
    parts: Any = module
    if _of_timm(base):
        if not isinstance(parts.head, nn.Linear):
            return "its head is not a linear layer"
        if parts.attn_pool is not None:
            return "its tokens are pooled by attention"
        if not isinstance(parts.patch_drop, nn.Identity):
            return "it drops tokens in training"
    return ""


def add_token(module: nn.Module) -> None:
    """Give a network a distillation token, in place. It begins as the class token, or as zeros where there is none, and
    its head as the one that is there.

    Raises:
        ValueError: it cannot have one, and why.
    """
    if why := why_no_token(module):
        raise ValueError(why)
    parts: Any = module
    base = _base(module)
    token = parts.cls_token if _of_timm(base) else parts.class_token
    embedding = parts.pos_embed if _of_timm(base) else parts.encoder.pos_embedding
    width = embedding.shape[-1] if embedding is not None else parts.head.in_features
    start = torch.zeros(1, 1, width) if token is None else token.detach().clone()
    counted = embedding is not None and token is not None and not getattr(parts, "no_embed_class", False)
    if counted:  # the embedding has a place for the class token, its first
        start = start + embedding.detach()[:, :1]
    head = parts.get_submodule(KNOWN[base.__module__, base.__name__])  # type: ignore[union-attr]
    setattr(parts, TOKEN, nn.Parameter(start.clone()))
    setattr(parts, HEAD, copy.deepcopy(head))
    mixin = _Timm if _of_timm(base) else _Torchvision
    kind = type(module)
    module.__class__ = type(kind.__name__, (mixin, kind), {"__module__": kind.__module__})


class _Timm:
    """Two functions of timm's VisionTransformer, around its own."""

    def _pos_embed(self: Any, x: Tensor) -> Tensor:
        x = super()._pos_embed(x)  # type: ignore[misc]
        return torch.cat((x, self.dist_token.expand(x.shape[0], -1, -1)), 1)

    def forward_head(self: Any, x: Tensor, pre_logits: bool = False) -> Tensor:
        own = super().forward_head(x[:, :-1], pre_logits)  # type: ignore[misc]
        told = self.head_drop(self.fc_norm(x[:, -1]))
        return (own + (told if pre_logits else self.head_dist(told))) / 2


class _Torchvision:
    """The function of torchvision's VisionTransformer with the token after the position embedding."""

    def forward(self: Any, x: Tensor) -> Tensor:
        x = self._process_input(x)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        x = self.encoder.dropout(x + self.encoder.pos_embedding)
        x = torch.cat([x, self.dist_token.expand(x.shape[0], -1, -1)], 1)
        x = self.encoder.ln(self.encoder.layers(x))
        return (self.heads(x[:, 0]) + self.head_dist(x[:, -1])) / 2


def _base(module: nn.Module) -> type | None:
    """The class of a library that a network's class is, or is made from; no library is imported."""
    return next((kind for kind in type(module).__mro__ if (kind.__module__, kind.__name__) in KNOWN), None)


def _of_timm(base: type | None) -> bool:
    return base is not None and base.__module__.startswith("timm.")
