"""The attention that a network computes, as queries, keys and values, whichever module computes it.

A mode follows the functions of a pass: `scaled_dot_product_attention`, or a product of two activations, a softmax and
another product, with what scales and masks the scores between them. Torch's `nn.MultiheadAttention` is one function
for a mode, so its queries, keys and values are computed once more from what it is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from recipelang.kinds import Attention
from recipelang.surgery.headed import Headed

PRODUCTS = {"matmul", "__matmul__"}
SCALINGS = {"mul", "__mul__", "__rmul__", "mul_", "__imul__"}
DIVISIONS = {"div", "__truediv__", "div_", "__itruediv__"}
SUMS = {"add", "__add__", "__radd__", "add_", "__iadd__"}
SAME = {"dropout", "to", "float", "type_as", "contiguous", "clone", "type", "nan_to_num"}
ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


class Attending(TorchFunctionMode):
    """Inside the block, and that of its `hooks`, the self-attention of every module is recorded.

    Attributes:
        found: path of the module that computes it → the attention of the last pass, B×heads×tokens×width, in the order
            in which it is computed.
        counts: path → how often it computed one in the last pass.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.found: dict[str, Attention] = {}
        self.counts: Counter[str] = Counter()
        self._paths: list[str] = []
        self._scores: Any = WeakTensorKeyDictionary()  # scores, and then their softmax → what they are made of

    def hooks(self) -> Iterator[Any]:
        """Hooks that follow which module runs. A copy of the module has them too, and is told apart."""
        for path, part in self.module.named_modules():
            yield part.register_forward_pre_hook(self._before(path, part), with_kwargs=True)
            yield part.register_forward_hook(self._after(part))

    def _before(self, path: str, part: nn.Module) -> Any:
        def before(called: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if called is not part:
                return
            if not path:
                self._paths.clear()
                self.counts.clear()
            self._paths.append(path)
            if type(part) is nn.MultiheadAttention:
                self._of_torch(part, args, kwargs)

        return before

    def _after(self, part: nn.Module) -> Any:
        def after(called: nn.Module, *_: Any) -> None:
            if called is part and self._paths:
                self._paths.pop()

        return after

    def _of_torch(self, part: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        query, key, value = (given[name] for name in names[:3])
        if query.ndim != 3:
            return
        alike = query is key and key is value
        if not part.batch_first:
            query, key, value = (one.transpose(0, 1) for one in (query, key, value))
        heads: Any = Headed._heads
        q, k, v = heads(part, query, key, value, alike)
        mask = Headed._mask(part, q, given.get("key_padding_mask"), given.get("attn_mask"))  # type: ignore[arg-type]
        self._record(q, k, v, 1 / math.sqrt(q.shape[-1]), mask)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = getattr(func, "__name__", "")
        if not self._paths:
            return func(*args, **kwargs)
        if kind == "scaled_dot_product_attention":
            self._fused(args, kwargs)
            return func(*args, **kwargs)
        made = func(*args, **kwargs)
        if isinstance(made, Tensor) and made.ndim == 4 and args and isinstance(args[0], Tensor) and kind != "__get__":
            self._follow(kind, args, kwargs, made)
        return made

    def _fused(self, args: Any, kwargs: Any) -> None:
        given = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
        q, k, v, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
        if q.ndim != 4:
            return
        if k.shape[1] != q.shape[1]:  # several heads of queries share one of keys and values
            k, v = (one.repeat_interleave(q.shape[1] // one.shape[1], 1) for one in (k, v))
        if given.get("is_causal"):
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        scale = given.get("scale")
        self._record(q, k, v, 1 / math.sqrt(q.shape[-1]) if scale is None else scale, _summand(mask, q))

    def _follow(self, kind: str, args: Any, kwargs: Any, made: Tensor) -> None:
        """Note what is made of scores; where nothing is known of what a function does, nothing of its result."""
        first, second = args[0], args[1] if len(args) > 1 else None
        known = self._scores.get(first)
        if kind in PRODUCTS and isinstance(second, Tensor) and second.ndim == 4:
            if known is None:
                self._scores[made] = (first, second.mT, 1.0, None)
            else:
                q, k, scale, mask = known
                self._record(q, k, second, scale, mask)
            return
        if kind in SUMS and known is None and isinstance(second, Tensor):  # a mask plus the scores
            first, second, known = second, first, self._scores.get(second)
        if known is None:
            return
        q, k, scale, mask = known
        if kind in SCALINGS or kind in DIVISIONS:
            if isinstance(second, Tensor) and second.numel() > 1:
                return
            factor: Any = second if kind in SCALINGS else 1 / second  # type: ignore[operator]
            self._scores[made] = (q, k, scale * factor, None if mask is None else mask * factor)
        elif kind in SUMS and isinstance(second, Tensor):
            self._scores[made] = (q, k, scale, second if mask is None else mask + second)
        elif kind in ("masked_fill", "masked_fill_") and isinstance(second, Tensor):
            hidden = torch.zeros_like(made).masked_fill(second, -math.inf)
            self._scores[made] = (q, k, scale, hidden if mask is None else mask + hidden)
        elif kind in SAME or kind == "softmax":
            self._scores[made] = known

    def _record(self, q: Tensor, k: Tensor, v: Tensor, scale: Any, mask: Tensor | None) -> None:
        if q.shape[:-1] != k.shape[:-1] or k.shape[:-1] != v.shape[:-1]:
            return  # of other tokens
        path = self._paths[-1]
        self.counts[path] += 1
        self.found.pop(path, None)
        self.found[path] = Attention(q.float(), k.float(), v.float(), scale, None if mask is None else mask.float())


def _summand(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask as numbers that are added to scores: where a bool is False, −∞."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(~mask, -math.inf)
