"""Libraries that are loaded at first use, so that a file may name them without the cost of importing them.

`from recipelang.lazy import torch` costs nothing until an attribute of `torch` is read. Method files
use it: `recipe check` reads their settings and cards and never imports torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recipelang.making import many_objects


class _Lazy(ModuleType):
    """Represents a module and imports it when an attribute is first read."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # a tool inspects the placeholder: the library is not used
            raise AttributeError(attribute)
        if self.__name__ not in sys.modules:
            with many_objects():
                importlib.import_module(self.__name__)
        return getattr(importlib.import_module(self.__name__), attribute)


if TYPE_CHECKING:
    import difflib
    import tempfile

    import numpy
    import torch
    import torchvision
else:
    difflib = _Lazy("difflib")  # only a mistake needs it
    tempfile = _Lazy("tempfile")  # it imports much, and only writing needs it
    numpy = _Lazy("numpy")
    torch = _Lazy("torch")
    torchvision = _Lazy("torchvision")

__all__ = ["difflib", "numpy", "tempfile", "torch", "torchvision"]
