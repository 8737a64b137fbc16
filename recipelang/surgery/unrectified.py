"""What ReLUs read, while a network runs: a sign taken there has gradients on both sides of zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

#: leave a positive number as it is, up to a limit, and make others zero
RELUS = {"relu", "relu_", "relu6"}
#: give the same whether a ReLU is before them or after them
COMMUTING = {
    "contiguous", "flatten", "max_pool1d", "max_pool2d", "max_pool3d", "permute", "reshape", "squeeze", "transpose",
    "unsqueeze", "view",
}  # fmt: skip


class Unrectified:
    """Knows of the tensors of a forward pass what they would be without the ReLU that is directly before them.

    Functions that give the same before and after a ReLU may be between: a pooling by the maximum, a flattening. Tensors
    are forgotten as soon as the pass forgets them.
    """

    def __init__(self) -> None:
        self._known: Any = WeakTensorKeyDictionary()

    def of(self, value: Tensor) -> Tensor:
        """The tensor without its ReLU; itself where there is none."""
        known: Callable[[], Tensor] | None = self._known.get(value)
        return value if known is None else known()

    def before(self, kind: str, func: Any, args: Any, kwargs: Any) -> Callable[[Any], None]:
        """Before a function is called with a tensor first; what is returned takes what the function made."""
        given = args[0]
        known = self._known.get(given)
        if kind in RELUS:
            read = given.clone() if kind == "relu_" or kwargs.get("inplace") or True in args[1:] else given
            return lambda made: self._note(made, lambda: read)
        if kind in COMMUTING and known is not None:
            return lambda made: self._note(made, lambda: func(known(), *args[1:], **kwargs))
        return lambda made: self._note(made, None)

    def _note(self, made: Any, known: Callable[[], Tensor] | None) -> None:
        if isinstance(made, Tensor):
            self._known.pop(made, None)  # it may have been written into
            if known is not None:
                self._known[made] = known


class Rectified(TorchFunctionMode):
    """Inside the block, `of` knows what tensors would be without the ReLU that is directly before them."""

    def __init__(self) -> None:
        super().__init__()
        self._known = Unrectified()

    def of(self, value: Tensor) -> Tensor:
        """The tensor without its ReLU; itself where there is none."""
        return self._known.of(value)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = getattr(func, "__name__", "")
        if kind in ("__get__", "__set__") or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        note = self._known.before(kind, func, args, kwargs)
        made = func(*args, **kwargs)
        note(made)
        return made
