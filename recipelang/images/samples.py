"""What a user's code returns for data, understood: data sets by split, and samples of input and target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.images.splits import SPLITS
from recipelang.kinds.inputs import MOST_IDS

#: refuse(message, help) → the refusal, in which the user's function is named
Refuse = Callable[[str, str], Refusal]
#: types of tensors that hold the ids of things
IDS = (torch.int16, torch.int32, torch.int64)


def splits_of(returned: Any, refuse: Refuse) -> dict[str, Any]:
    """Split → data set, of what a user's function returned.

    Args:
        returned: a mapping or an object with `train`, and perhaps `val` and `test`; a tuple of two (train, test) or of
            three (train, val, test); or one data set.

    Raises:
        Refusal: as `refuse`: it is nothing of this kind.
    """
    several: Sequence[Any] = returned if isinstance(returned, tuple | list) else ()
    if isinstance(returned, Mapping):
        found = {str(name): data for name, data in returned.items()}
    elif len(several) in (2, 3) and all(_indexable(one) for one in several):
        found = dict(zip(SPLITS if len(several) == 3 else ("train", "test"), several, strict=True))
    elif _indexable(returned):
        found = {"train": returned}
    else:
        found = {name: getattr(returned, name) for name in SPLITS if getattr(returned, name, None) is not None}
    help = "return a data set, `(train, val, test)`, or `{'train': …, 'val': …, 'test': …}`"
    if unknown := sorted(set(found) - set(SPLITS)):
        raise refuse(f"it returns `{unknown[0]}` among {_brief(returned)}", help)
    if "train" not in found:
        raise refuse(f"it returns {_brief(returned)}, without `train`", help)
    for name, data in found.items():
        if not _indexable(data):
            raise refuse(f"`{name}` is {_brief(data)}, not a data set with `__len__` and `__getitem__`", help)
    return found


def _indexable(value: Any) -> bool:
    """Whether something is a data set: neither a sample nor a tensor."""
    plain = isinstance(value, Tensor | tuple | Mapping | str | np.ndarray)
    return not plain and hasattr(value, "__getitem__") and hasattr(value, "__len__")


def read_sample(sample: Any, index: int, target: str, refuse: Refuse) -> tuple[Tensor, Any]:
    """Input and target of a sample: a tensor of floating-point or whole numbers, and an int or a floating-point tensor.

    Args:
        sample: as the user's data set gives it.
        index: its number, for messages.
        target: `class`: the number of a class; `labels`: a 0 or 1 for each label; else a floating-point tensor.
        refuse: makes refusals in which the user's function is named.

    Raises:
        Refusal: as `refuse`: it is something else.
    """
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        message = f"sample {index} is {_brief(sample)}, not a pair of input and target"
        raise refuse(message, "return `(input, target)`")
    ids = _ids(sample[0], index, refuse)
    inputs = _numbers(sample[0], index, "input", refuse) if ids is None else ids
    if target == "class":
        return inputs, _label(sample[1], index, refuse)
    if target == "labels":
        return inputs, _several(sample[1], index, refuse)
    return inputs, _numbers(sample[1], index, "target", refuse)


def _ids(value: Any, index: int, refuse: Refuse) -> Tensor | None:
    """The whole numbers of an input, int64, such as the ids of tokens; None where it is something else.

    Numbers of a byte are pixels that nobody has made floating point: they are not taken for ids.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.dtype.itemsize > 1:
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor) or value.dtype not in IDS or not value.ndim:
        return None
    if value.layout != torch.strided or value.is_meta:
        return None  # `_numbers` says so
    value = value.detach().to("cpu", torch.int64)
    if bool((value < 0).any()) or bool((value >= MOST_IDS).any()):
        odd = value[(value < 0) | (value >= MOST_IDS)][0].item()
        message = f"the input of sample {index} holds the whole number {odd}, not the id of something"
        raise refuse(message, f"number ids from 0 to {MOST_IDS - 1:,}, or convert other numbers: `tensor.float()`")
    return value


def _numbers(value: Any, index: int, what: str, refuse: Refuse) -> Tensor:
    """A tensor of finite floating-point numbers, float32."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_meta):
        message = f"the {what} of sample {index} is a tensor that is sparse or without numbers"
        raise refuse(message, "return dense numbers: `tensor.to_dense()`")
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.ndim:
        message = f"the {what} of sample {index} is {_brief(value)}, not a tensor of floating-point numbers"
        help = "convert it: `torchvision.transforms.functional.to_tensor(image)` for an image, `tensor.float()`"
        raise refuse(message, help)
    if not bool(value.isfinite().all()):
        message = f"the {what} of sample {index} holds NaN or infinite numbers"
        raise refuse(message, "leave such samples out, or replace the numbers")
    return value.detach().to("cpu", torch.float32)


def _label(value: Any, index: int, refuse: Refuse) -> int:
    one = value.numel() == 1 and not value.is_meta if isinstance(value, Tensor) else getattr(value, "size", 0) == 1
    if one and isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"the target of sample {index} is {_brief(value)}, not the number of a class"
        help = "return the class as a whole number from 0 up"
        several = "write `task multilabel` if it says of each label whether it holds; of one class, " + help
        raise refuse(message, several if _zeros_and_ones(value) is not None else help)
    return value


def _several(value: Any, index: int, refuse: Refuse) -> Tensor:
    """A 0 or 1 for each label, float32 C."""
    found = _zeros_and_ones(value)
    if found is not None:
        return found
    message = f"the target of sample {index} is {_brief(value)}, not a 0 or 1 for each label"
    if isinstance(value, int) or (isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0):
        raise refuse(message, "write `task classification` if it is the number of a class")
    raise refuse(message, "return a vector of 0 and 1, with one number for each label; none may be missing")


def _zeros_and_ones(value: Any) -> Tensor | None:
    """A vector of 0 and 1, float32; None where it is something else."""
    if isinstance(value, tuple | list) and value and all(isinstance(one, int | float) for one in value):
        value = torch.tensor(value, dtype=torch.float64)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor) or value.ndim != 1 or value.layout != torch.strided or value.is_meta:
        return None
    if not value.numel() or not bool(((value == 0) | (value == 1)).all()):
        return None
    return value.detach().to("cpu", torch.float32)


def shape_of(target: Any) -> tuple[int, ...] | None:
    return tuple(target.shape) if isinstance(target, Tensor) else None


def _brief(value: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} and shape {tuple(value.shape)}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{value!r:.40}" if isinstance(value, int | float | str | bool | None) else f"a {type(value).__name__}"
