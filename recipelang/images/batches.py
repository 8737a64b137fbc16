"""Batches as trees of tensors: a tensor, or tuples, lists and dictionaries of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


def moved(tree: Any, device: str, *, channels_last: bool = False) -> Any:
    """The tensors of a tree on a device.

    Args:
        channels_last: whether images (B×C×H×W) are laid out with channels last.
    """

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.to(device, non_blocking=True)
        return leaf.contiguous(memory_format=torch.channels_last) if channels_last and leaf.ndim == 4 else leaf

    return tree_map(move, tree)


def count(tree: Any) -> int:
    """The number of samples of a tree: the length of its first tensor."""
    return next((len(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)), 0)


def copied(tree: Any) -> Any:
    """The tree with copies of its tensors."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, tree)


def detached(tree: Any) -> Any:
    """The tree with its tensors outside of any graph."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)


def chosen(tree: Any, which: Tensor) -> Any:
    """Some samples of every tensor of a tree: those that are true in `which`, bool B."""
    return tree_map(lambda leaf: leaf[which] if isinstance(leaf, Tensor) else leaf, tree)


def first(tree: Any, samples: int) -> Any:
    """The first samples of every tensor of a tree."""
    return tree_map(lambda leaf: leaf[:samples] if isinstance(leaf, Tensor) else leaf, tree)
