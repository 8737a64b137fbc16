"""Running a user's Python file, after the user said that it is to be trusted."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from torch import nn

from recipelang.errors import Refusal
from recipelang.surgery.source import remember_code
from recipelang.surgery.tracing import first_line


def call_builder(file: Path, function: str, keywords: dict[str, Any], classes: int | None) -> tuple[nn.Module, str]:
    """Run a Python file and call a function of it.

    Args:
        file: the file; modules beside it can be imported by it.
        function: returns the network.
        keywords: for the function.
        classes: given as the keyword `classes` where the function has such a parameter.

    Returns:
        the module, and the SHA-256 of the file in hex.

    Raises:
        Refusal: RCP0712: no such file or function, the code raises, or what it returns is no nn.Module.
    """
    if not file.is_file():
        raise Refusal("RCP0712", f"there is no Python file `{file.name}`", "write its path relative to the recipe")
    digest = remember_code(file)
    try:
        build = getattr(_imported(file, digest), function, None)
        if not callable(build):
            raise Refusal(
                "RCP0712",
                f"`{file.name}` has no function `{function}`",
                "name a function of the file that returns the network",
            )
        if classes is not None and "classes" in inspect.signature(build).parameters:
            keywords = {**keywords, "classes": classes}
        module = build(**keywords)
    except Refusal:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise whatever it likes
        raise Refusal(
            "RCP0712",
            f"`{file.name}` cannot build the network: {type(error).__name__}: {first_line(error)}{_line(error, file)}",
            "mend the file; it has to run by itself under the installed torch",
        ) from error
    if not isinstance(module, nn.Module):
        raise Refusal(
            "RCP0712",
            f"`{function}` of `{file.name}` returns {type(module).__name__}, not a network",
            "return an nn.Module",
        )
    return module, digest


def _imported(file: Path, digest: str) -> Any:
    """The file as a module of a name of its own; imported once for each of its contents."""
    name = f"_recipelang_user_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(file.parent.resolve()))
    return module


def _line(error: BaseException, file: Path) -> str:
    """Where in the user's file it happened."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file.name
    ]
    return f" (line {lines[-1]})" if lines else ""
