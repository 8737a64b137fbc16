"""`model python("file.py:build")`: a network that the user's own code builds; only under `--trust`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import ModelRequest


@method("model", "python")
@dataclass(frozen=True)
class Python:
    """The network that a function of a Python file returns: `python("nets/mine.py:build", width=32)`.

    The function gets the further settings as keywords, and `classes` where it has a parameter of that name; it
    returns an nn.Module that takes B×C×H×W and gives B×classes. The file runs only under `--trust`.

    When it misleads: an artifact of such a network names the file and its hash and needs the file to load;
    `export pt2` is the form that stands alone.
    Source: the file.
    """

    where: str = setting(type="text", positional=True, help="`file.py:function`, relative to the recipe.")
    weights: str = setting("", type="text", hashed=False, help="File of weights: safetensors, or a plain state dict.")
    classes: int | None = setting(None, type="integer", low=2, help="Number of outputs; default that of the data.")
    digest: str = setting("", type="text", help="SHA-256 that the file must have; default any.")
    extra: tuple[tuple[str, Any], ...] = setting((), type="any", extra=True, help="Settings for the function.")

    def __post_init__(self) -> None:
        file, _, function = self.where.rpartition(":")
        if not file.endswith(".py") or not function.isidentifier():
            raise SettingError(
                "where",
                f"`{self.where}` does not name a function in a Python file",
                'write the file and the function, as in `python("nets/mine.py:build")`',
            )

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return bool(self.weights) and self.classes is None

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The Python file, and the weights file if there is one."""
        from recipelang.surgery.source import remember_code

        code = resolve(self.where.rpartition(":")[0])
        if code.is_file():
            remember_code(code)
        return (code, resolve(self.weights)) if self.weights else (code,)

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0711: no trust; RCP0712: the code cannot be run or returns no module; RCP0715: it is not
                the code that a saved network was built by.
        """
        if not request.trust:
            raise Refusal(
                "RCP0711",
                f'`python("{self.where}")` runs code of that file, and nobody said that it may',
                "read the file; if you trust it, run again with `--trust`, or load with `trust=True`",
            )
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.code import call_builder
        from recipelang.surgery.weights import read_weights

        file, _, function = self.where.rpartition(":")
        classes = self.classes or (len(request.classes) if request.classes else None)
        module, digest = call_builder(request.resolve(file), function, dict(self.extra), classes)
        if self.digest not in ("", digest):
            raise Refusal(
                "RCP0715",
                f"the Python file `{Path(file).name}` has changed: it is not the one of this digest",
                "bring back the file as it was, or leave `digest` out",
            )
        shape = request.input_shape or getattr(module, "input_shape", None)
        if shape is None:
            raise Refusal(
                "RCP0712",
                f"nobody says what images `{function}` of `{file}` is for",
                "name the data (`recipe layers` takes `--data`), or give the module `input_shape = (C, H, W)`",
            )
        where = file if not Path(file).is_absolute() else Path(file).name
        return assemble(
            module,
            request,
            model="python",
            settings={"where": f"{where}:{function}", "digest": digest, "extra": [list(pair) for pair in self.extra]},
            input_shape=tuple(shape),
            classes=self.classes,
            weights=read_weights(request.resolve(self.weights)) if self.weights and request.weights else None,
        )
