"""Networks that a library builds: which version built it, and whether the one that is installed builds the same.

A saved network holds weights and the way to build its architecture. Another version of the library may build another
architecture, with other names of weights, or with the same names and other arithmetic. So the answer of the
architecture with standard numbers is noted when it is first built, and compared when another version builds it again.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.extras import version_of
from recipelang.files import cache_folder, used, write_text
from recipelang.surgery.tracing import evaluating

#: how far answers may be apart, relative to the largest: float64, so rounding is far below
TOLERANCE = 1e-6
#: how many numbers of the answer are noted, and with how many digits
NOTED, DIGITS = 8, 9
#: a file of the cache has far fewer
MOST_BYTES = 10_000
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
#: refusals that have nothing to do with versions
OTHER_CAUSES = ("RCP0763", "RCP0711", "RCP0715", "RCP0745", "RCP1027")


def note(library: str, module: nn.Module, inputs: Tensor, call: Mapping[str, Any]) -> dict[str, Any]:
    """The library, its version and the answer with standard numbers, as JSON for `Network.source`.

    The answer is computed once and kept in the user's cache under everything that decides it.

    Args:
        library: as it is imported.
        module: the architecture, with as many outputs as it will have, which returns one tensor (`entry.enter`); is
            not changed.
        inputs: of the shape that it takes.
        call: how the library was asked for it, as JSON.
    """
    place = cache_folder() / "built" / f"{_identity(library, module, inputs, call)}.json"
    answer = _kept(place)
    if not answer and (answer := _answer(module, inputs)):
        with contextlib.suppress(OSError):
            write_text(place, json.dumps(answer))
    return {"library": library, "version": version_of(library), **({"answer": answer} if answer else {})}


def require_same(noted: Mapping[str, Any], module: nn.Module, inputs: Tensor) -> None:
    """Refuse an architecture that another version of its library built and that computes something else.

    Raises:
        Refusal: RCP0763.
    """
    library, version = str(noted.get("library", "")), str(noted.get("version", ""))
    before = noted.get("answer")
    if version == version_of(library) or not isinstance(before, list):
        return
    now = _answer(module, inputs)
    if now and not _close(before, now):
        raise another_version(noted, "it computes something else")


@contextmanager
def named_version(source: Mapping[str, Any]) -> Iterator[None]:
    """What does not fit in this block is explained by the version of the library, where that is another one.

    Args:
        source: `Network.source`.

    Raises:
        Refusal: RCP0763 instead of what was raised; what was raised if the version is the same.
    """
    built = source.get("built") or {}
    try:
        yield
    except Refusal as refusal:
        if not built or built.get("version") == version_of(str(built.get("library"))) or refusal.code in OTHER_CAUSES:
            raise
        raise another_version(built, refusal.message) from refusal


def another_version(noted: Mapping[str, Any], why: str) -> Refusal:
    """The refusal for a saved network that the installed version of its library does not build."""
    library, version = str(noted.get("library", ""))[:40], str(noted.get("version", ""))[:40]
    return Refusal(
        "RCP0763",
        f"the network was built by {library} {version}, and {library} {version_of(library)} builds another: {why}",
        f'`pip install "{library}=={version}"`; `export pt2` writes a network that needs no library',
    )


def _close(before: list[Any], now: list[float]) -> bool:
    if len(before) != len(now) or not all(isinstance(x, int | float) for x in before):
        return False
    scale = max(1e-12, *(abs(x) for x in now))
    return all(abs(a - b) <= TOLERANCE * scale for a, b in zip(before, now, strict=True))


def _kept(place: Path) -> list[float]:
    """The answer in a file of the cache; [] where there is none or it is damaged."""
    found: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError), place.open("rb") as file:
        found = json.loads(file.read(MOST_BYTES))
        used(place)
    whole = isinstance(found, list) and all(type(x) is float and math.isfinite(x) for x in found)
    return list(found) if whole else []


def _identity(library: str, module: nn.Module, inputs: Tensor, call: Mapping[str, Any]) -> str:
    """Hex digest of everything that decides `_answer`: the call, the modules that it made, the code that they run, the
    inputs, and what modules hold besides the numbers that `standardise` replaces."""
    shapes = [(name, list(tensor.shape), str(tensor.dtype)) for name, tensor in module.state_dict().items()]
    kinds = [f"{type(part).__module__}.{type(part).__qualname__}" for part in module.modules()]
    machine = [torch.__version__, torch.backends.cpu.get_cpu_capability(), str(inputs.device)]
    told = [library, version_of(library), machine, call, _ADDRESS.sub("", repr(module)), kinds, shapes]
    told.append(_code(library, module))
    whole = hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode())
    for place, tensor in (("", inputs), *_fixed(module)):
        whole.update(f"{place} {tensor.dtype} {list(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().to_dense().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _fixed(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name and numbers of the buffers that `standardise` leaves as they are."""
    for path, part in module.named_modules():
        normal = isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None
        for name, buffer in part.named_buffers(recurse=False):
            if not (normal and name in _STATISTICS):
                yield f"{path}.{name}", buffer


def _code(library: str, module: nn.Module) -> list[list[Any]]:
    """Name, size and times of change of the files whose code computes: those of this module, of the library and of the
    classes of the network's parts, as far as they are loaded; a library may be edited where it is installed."""
    names = {name for name in list(sys.modules) if name.partition(".")[0] == library}
    names |= {kind.__module__ for part in module.modules() for kind in type(part).__mro__}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in (*names, __name__)}
    stamps = []
    for file in sorted(filter(None, files)):
        with contextlib.suppress(OSError):
            status = os.stat(file)
            stamps.append([file, status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    return stamps


def _answer(module: nn.Module, inputs: Tensor) -> list[float]:
    """A few numbers of the answer in float64, parameters set by a rule; [] where it cannot compute in float64."""
    try:
        other = copy.deepcopy(module).double()
        standardise(other)
        given = inputs
        if inputs.is_floating_point():
            given = _waves(inputs.numel(), 1).reshape(inputs.shape)
        with evaluating(other):
            found = other(given).flatten()
    except Exception:  # the module is a library's, and may mix types
        return []
    some = found[:: max(1, found.numel() // NOTED)][:NOTED].tolist()
    return [float(f"{x:.{DIGITS}g}") for x in some] if all(map(math.isfinite, some)) else []


def standardise(module: nn.Module) -> None:
    """Give all parameters and running statistics standard numbers, in place: waves, about as large as at the start."""
    seen: set[int] = set()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            waves = _waves(parameter.numel(), number + 2).reshape(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(waves * math.sqrt(2 / (parameter.numel() / max(1, len(parameter)))))
            else:
                parameter.copy_(1 + waves / 10 if parameter.numel() > 1 else waves)
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                part.reset_running_stats()


def _waves(count: int, number: int) -> Tensor:
    """`count` numbers of −1…1 that no two parameters share."""
    return torch.cos(torch.arange(count, dtype=torch.float64) * (1 + number * 0.6180339887498949))
