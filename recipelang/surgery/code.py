"""Running a user's Python file, after the user has trusted it."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from recipelang.errors import Refusal
from recipelang.surgery.codebase import Code
from recipelang.surgery.reads import data_among, files_read
from recipelang.surgery.source import remember_code
from recipelang.surgery.space import space_of
from recipelang.surgery.surroundings import undisturbed
from recipelang.surgery.tracing import first_line

#: refuse(message, help) → the refusal for code that cannot be used
Refuse = Callable[[str, str], Refusal]


@dataclass(frozen=True)
class Ran:
    """What a user's function returned.

    Attributes:
        value: anything.
        code: the file and what it imports.
        notes: for the user: files that the code reads and that no hash covers.
    """

    value: Any
    code: Code
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuiltByCode:
    """A network as a user's code built it.

    Attributes:
        module: on the CPU.
        code: the file and what it imports.
        notes: for the user: files that the code reads and that no hash covers.
    """

    module: nn.Module
    code: Code
    notes: tuple[str, ...] = ()


def call_builder(file: Path, function: str, keywords: dict[str, Any], classes: int | None) -> BuiltByCode:
    """Run a Python file and call a function of it that returns a network.

    Args:
        file: the file; it can import modules beside it, visible to it alone (`space`).
        function: returns the network.
        keywords: for the function.
        classes: given as the keyword `classes` where the function has such a parameter.

    Raises:
        Refusal: RCP0712: no such file or function, the code raises, or what it returns is not an nn.Module of float32
            parameters; RCP0740, RCP0741: it imports modules that are not beside it, or too many.
    """
    offered = {"classes": classes} if classes is not None else {}
    ran = call_function(file, function, keywords, "the network", _refused, offered)
    require_network(ran.value, f"`{function}` of `{file.name}` returns")
    return BuiltByCode(ran.value.to("cpu"), ran.code, ran.notes)


def _refused(message: str, help: str) -> Refusal:
    return Refusal("RCP0712", message, help)


def call_function(
    file: Path,
    function: str,
    keywords: Mapping[str, Any],
    makes: str,
    refuse: Refuse,
    offered: Mapping[str, Any] = MappingProxyType({}),
) -> Ran:
    """Run a Python file and call a function of it.

    Args:
        file: the file; it can import modules beside it, visible to it alone (`space`).
        keywords: for the function.
        makes: what the function returns, in words: "the network".
        refuse: makes the refusal where there is no such file or function, or the code raises.
        offered: keywords that the function gets where it has such parameters.

    Raises:
        Refusal: as `refuse`; RCP0740, RCP0741: it imports modules that are not beside it, or too many.
    """
    if not file.is_file():
        raise refuse(f"there is no Python file `{file.name}`", "write its path relative to the recipe")
    try:
        code = remember_code(file)
    except OSError as error:
        message = f"`{file.name}` cannot be read: {first_line(error)}"
        raise refuse(message, "check the permissions of the file") from error
    space = space_of(code)
    try:
        with files_read() as read, undisturbed(file), space.building() as imported:
            build = getattr(imported, function, None)
            if not callable(build):
                raise refuse(
                    f"`{file.name}` has no function `{function}`", f"name a function of the file that returns {makes}"
                )
            known = inspect.signature(build).parameters if offered else {}
            value = build(**keywords, **{name: given for name, given in offered.items() if name in known})
    except (Refusal, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's code may raise anything
        why = first_line(error).replace(f"{space.name}.", "")
        raise refuse(
            f"`{file.name}` cannot build {makes}: {type(error).__name__}: {why}{_line(error, code)}",
            "fix the file; it must run on its own with the installed torch",
        ) from error
    space.read |= read  # what is imported is read once
    return Ran(value, code, _unnoticed(data_among(space.read, code.contents), file))


def _unnoticed(data: tuple[Path, ...], file: Path) -> tuple[str, ...]:
    """The note on files that the code reads: the store does not know them."""
    if not data:
        return ()
    named = ", ".join(f"`{path.name}`" for path in data[:3]) + (f" and {len(data) - 3} more" if len(data) > 3 else "")
    change = "it changes" if len(data) == 1 else "they change"
    return (f"`{file.name}` reads {named}: steps are not run again when {change}",)


def require_network(module: Any, gives: str) -> None:
    """Refuse what is not an nn.Module of Python code, or has parameters without values or of another type.

    Args:
        gives: where the module comes from, for the message: "`build` of `net.py` returns".

    Raises:
        Refusal: RCP0712.
    """
    if not isinstance(module, nn.Module):
        raise Refusal(
            "RCP0712",
            f"{gives} {type(module).__name__}, not a network",
            "return an nn.Module",
        )
    if scripted := next((part for part in module.modules() if isinstance(part, torch.jit.ScriptModule)), None):
        raise Refusal(
            "RCP0712",
            f"{gives} TorchScript (`{scripted.original_name}`), whose weights can be "
            "neither looked into nor trained here",
            "return the module without `torch.jit.script` and `torch.jit.trace`; `export pt2` writes a program",
        )
    parameters = {name: weight for name, weight in module.named_parameters() if not is_lazy(weight)}
    if empty := [name for name, parameter in parameters.items() if parameter.is_meta]:
        raise Refusal(
            "RCP0712",
            f"{gives} a network without values: `{empty[0]}` is on the device `meta`",
            "build the network on the CPU",
        )
    if frozen := [name for name, parameter in parameters.items() if parameter.is_inference()]:
        raise Refusal(
            "RCP0712",
            f"{gives} a network that cannot be trained: `{frozen[0]}` was made in inference mode",
            "build it outside `torch.inference_mode()`",
        )
    if unreal := [name for name, parameter in parameters.items() if parameter.is_complex()]:
        raise Refusal(
            "RCP0712",
            f"{gives} a network with complex parameters, as `{unreal[0]}`",
            "hold real and imaginary parts in a last axis of two, and use `torch.view_as_complex(self.weight)`",
        )
    types = {parameter.dtype for parameter in parameters.values() if parameter.is_floating_point()}
    if len(types) == 1 and torch.float32 not in types:
        name = str(types.pop()).removeprefix("torch.")
        raise Refusal(
            "RCP0712",
            f"{gives} a network in {name}; networks are trained in float32",
            "keep torch's default type, or return `network.float()`",
        )


def _line(error: BaseException, code: Code) -> str:
    """Where in the user's files the error was raised."""
    own = {str(file) for file in code.files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    if not frames:
        return ""
    file = Path(frames[-1].filename)
    return f" (line {frames[-1].lineno})" if file == code.file else f" ({file.name}, line {frames[-1].lineno})"
