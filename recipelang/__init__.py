"""recipelang: text that reads like a lab protocol becomes a smaller network and a record of how it was made.

    recipe run -e 'prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered'

The same from Python, with a network and data of one's own:

    import recipelang
    result = recipelang.run("prune layers by imprint until flops<0.7; distill from healthy", model=net, data=samples)
    print(result.table())
    network = result.networks["main"].load()

`check` and `plan` take the same arguments as `run`; `result` reads a finished run, `load` a network that a run saved.
What a recipe or its user can do wrong is raised as `RecipeError`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipelang.api.calls import check as check
    from recipelang.api.calls import plan as plan
    from recipelang.api.calls import run as run
    from recipelang.api.checked import Checked as Checked
    from recipelang.api.finished import Network as Network
    from recipelang.api.finished import Result as Result
    from recipelang.api.finished import result as result
    from recipelang.api.loading import load as load
    from recipelang.errors import Diagnostic as Diagnostic
    from recipelang.errors import RecipeError as RecipeError
    from recipelang.run.planlines import PlanReport as PlanReport

__version__ = "0.1.0"
#: name → the module that defines it; each is loaded when it is first used, and torch with none of them
_WHERE = {
    "check": "api.calls",
    "plan": "api.calls",
    "run": "api.calls",
    "result": "api.finished",
    "load": "api.loading",
    "Checked": "api.checked",
    "Diagnostic": "errors",
    "Network": "api.finished",
    "PlanReport": "run.planlines",
    "RecipeError": "errors",
    "Result": "api.finished",
}
__all__ = ["__version__", *_WHERE]


class _Package(ModuleType):
    """This package, in which `check`, `plan` and `run` are functions also after the rooms of these names are loaded:
    Python binds a loaded module in its package, and would replace the function with it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:  # a type checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        """What `_WHERE` says, loaded at its first use."""
        if name not in _WHERE:
            raise AttributeError(f"module `recipelang` has no attribute `{name}`")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(f"recipelang.{_WHERE[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext recipelang` calls: cells that begin with `%%recipe` are recipes."""
    from recipelang.notebook.magic import register

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext recipelang` calls."""
    from recipelang.notebook.magic import withdraw

    withdraw(shell)
