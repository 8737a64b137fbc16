"""`model python("file.py:build")`: a network that the user's own code builds; only under `--trust`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import FLOATING, Inputs, ModelRequest
from recipelang.kinds.inputs import MOST_IDS
from recipelang.methods.models._own import require_file

if TYPE_CHECKING:
    from recipelang.surgery.codebase import Code


@method("model", "python")
@dataclass(frozen=True)
class Python:
    """The network that a function of a Python file returns: `python("nets/mine.py:build", width=32)`.

    The function gets the other settings as keywords, and `classes` if it has a parameter of that name; it returns an
    nn.Module that maps B×C×H×W to B×classes, or inputs of the data to answers of the recipe's task. The file runs only
    under `--trust`.

    Modules beside the file, in its package and in the folders of `PYTHONPATH` can be imported, also inside functions
    and in `forward`; each network has its own, and after a change in one of them, the steps run again. For a file that
    changes `sys.path` or imports names made at run time, all Python files under its folder count.

    When it misleads: other files that the code reads (tables, weights of its own) do not count: the run names them, but
    after a change in them nothing runs again. Give such values as settings, and weights by `weights`. An artifact of
    such a network names its Python files and their hashes and needs them to load; `export pt2` is self-contained.
    Source: the file.
    """

    where: str = setting(type="text", positional=True, help="`file.py:function`, relative to the recipe.")
    weights: str = setting("", type="text", hashed=False, help="File of weights: safetensors, or a plain state dict.")
    at: str = setting(
        "",
        type="text",
        help="State dict in the file, or prefix of its names; default `state_dict`, `model_state_dict`, `model`.",
    )
    classes: int | None = setting(None, type="integer", low=2, help="Number of outputs; default that of the data.")
    digest: str = setting("", type="text", help="SHA-256 that the code must have; default any.")
    extra: tuple[tuple[str, Any], ...] = setting((), type="any", extra=True, help="Settings for the function.")

    def __post_init__(self) -> None:
        require_file(self.at, self.weights)
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
        """The Python file, what it imports from beside it, and the weights file if there is one."""
        from recipelang.surgery.checkpoints import files_of
        from recipelang.surgery.source import remember_code

        file = resolve(self.where.rpartition(":")[0])
        try:
            code = remember_code(file).files if file.is_file() else (file,)
        except OSError:
            code = (file,)  # `build` reports it
        return (*code, *files_of(resolve(self.weights))) if self.weights else code

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0711: no trust; RCP0712: the code fails or does not return a module; RCP0715: it is not
                the code that built a saved network.
        """
        if not request.trust:
            raise Refusal(
                "RCP0711",
                f'`python("{self.where}")` runs code of that file, which is not permitted',
                "read the file; if you trust it, add `--trust`",
            )
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.checkpoints import weights_for
        from recipelang.surgery.code import call_builder

        file, _, function = self.where.rpartition(":")
        classes = self.classes or (len(request.classes) if request.classes else None)
        built = call_builder(request.resolve(file), function, dict(self.extra), classes)
        module, code = built.module, built.code
        if self.digest not in ("", code.digest):
            raise Refusal("RCP0715", *_another(self.digest, code))
        shape = request.input_shape or own_shape(module, f"`{function}` of `{Path(file).name}`")
        where = file if not Path(file).is_absolute() else Path(file).name
        return assemble(
            module,
            request,
            model="python",
            settings={
                "where": f"{where}:{function}",
                "digest": code.digest,
                "extra": [list(pair) for pair in self.extra],
            },
            files=code.hashes,
            notes=built.notes,
            input_shape=shape,
            inputs=own_inputs(module),
            classes=self.classes,
            weights=weights_for(request, self.weights, self.at),
        )


def _another(wanted: str, code: Code) -> tuple[str, str]:
    """Message and help if the code does not have the digest that the recipe asks for."""
    name, others = code.file.name, list(code.hashes)[1:]
    if wanted == code.hashes[next(iter(code.hashes))]:
        few = ", ".join(f"`{path}`" for path in others[:3])
        return (
            f"the digest is that of `{name}` alone, and the file imports {few}{' and more' * (len(others) > 3)}",
            f'write `digest="{code.digest}"`, which counts them all',
        )
    return (
        f"the Python file `{name}` or a file that it imports has changed: the code does not have this digest",
        "restore the files, or leave `digest` out",
    )


def own_shape(module: Any, named: str) -> tuple[int, ...]:
    """The input shape that a module states, for a recipe without data."""
    shape = getattr(module, "input_shape", None)
    if shape is None:
        message = f"it is not known which images {named} takes"
    elif isinstance(shape, Sequence) and 0 < len(shape) <= 6 and all(type(n) is int and n > 0 for n in shape):
        return tuple(shape)
    else:
        message = f"{named} has the `input_shape` {str(shape)[:60]}, which is not (channels, height, width)"
    help = "name the data (`--data`), or give the module `input_shape = (C, H, W)`"
    raise Refusal("RCP0712", message, help)


def own_inputs(module: Any) -> Inputs:
    """What the numbers of an input are, as a module states: `ids = 30522` for whole numbers below that."""
    ids = getattr(module, "ids", None)
    return Inputs(ids) if type(ids) is int and 0 < ids <= MOST_IDS else FLOATING
