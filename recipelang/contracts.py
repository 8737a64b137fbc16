"""Whether a plug-in keeps the contract of its kind: what its class must have, as the Protocols of `kinds/` say it.

The project's own methods are held to it by a test. A plug-in is asked when a recipe names it, so that `check` refuses
one that a run would stumble over, and says what is missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from recipelang import kinds
from recipelang.errors import Refusal
from recipelang.units import listed

#: kind → its Protocol in `kinds/`; kinds that are not here have ATTRIBUTES alone
PROTOCOLS: Mapping[str, str] = {
    "model": "ModelMethod",
    "data": "DataMethod",
    "task": "Task",
    "metric": "Metric",
    "criterion": "Criterion",
    "unit": "Unit",
    "allocation": "Allocation",
    "loss": "Loss",
    "pattern": "Pattern",
    "permutation": "Permutation",
    "quantizer": "Quantizer",
    "widths": "WidthSearch",
    "rounder": "Rounder",
    "hardware": "Hardware",
    "sharing": "Sharing",
    "encoder": "Encoder",
    "source": "Source",
    "optimizer": "Optimizer",
    "companion": "Companion",
    "schedule": "Schedule",
    "ramp": "Ramp",
    "runtime": "Runtime",
    "export": "ExportMethod",
    "tracker": "Tracker",
    "edit": "Edit",
    "restriction": "Restriction",
}
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {"kernel": ("executes", "int8"), "report": ("file", "template", "charts")}
#: Protocols to inherit from: what such a class must still define itself, or one of it
ABSTRACT: Mapping[str, tuple[str, ...]] = {
    "OutputLoss": ("compare",),
    "Loss": ("__call__",),
    "Quantizer": ("range", "restriction"),
}
#: what `measure` of a metric is called with, by its source
MEASURED: Mapping[str, tuple[str, ...]] = {
    "structure": ("deployed", "network", "input_shape"),
    "clock": ("executable", "healthy", "input_shape", "progress"),
    "execution": ("rows", "network", "input_shape"),
}


def require(kind: str, name: str, found: Any) -> None:
    """Refuse a method, edit or restriction of a plug-in that does not keep its contract.

    Args:
        kind: of the catalogue.
        name: of the entry point, which the class must bear.
        found: what the entry point names.

    Raises:
        Refusal: RCP0255, with everything that is missing.
    """
    part = kind in ("edit", "restriction")
    if not isinstance(found, type):
        wrong = ["it is not a class"]
    elif part and getattr(found, "kind", None) != name:
        wrong = [f'its `kind` is not "{name}"']
    elif not part and (getattr(found, "kind", None), getattr(found, "name", None)) != (kind, name):
        wrong = [f'it is not decorated with `@method("{kind}", "{name}")`']
    else:
        wrong = list(_broken(kind, found))
    refuse_broken(kind, name, found, wrong)


def require_stage(name: str, stage: Any) -> None:
    """Refuse a stage of a plug-in without its functions.

    Raises:
        Refusal: RCP0255.
    """
    wrong = []
    for function, arguments in {
        "run": ("operation", "context"),
        "foresee": ("operation", "network", "known"),
    }.items():
        found = getattr(stage, function, None)
        if found is None and function == "run":
            wrong.append("it has no `run`")
        elif found is not None:
            wrong += _uncallable(function, found, arguments)
    refuse_broken("stage", name, stage, wrong)


def refuse_broken(kind: str, name: str, found: Any, wrong: list[str]) -> None:
    """Refuse what is wrong with what an entry point names, if anything is.

    Raises:
        Refusal: RCP0255.
    """
    if not wrong:
        return
    where = getattr(found, "__module__", None) or getattr(found, "__name__", "") or "?"
    raise Refusal(
        "RCP0255",
        f"the plug-in {kind} `{name}` of `{where}` breaks its contract: {'; '.join(wrong)}",
        "tell its author, or uninstall the package; CONTRIBUTING.md shows what each kind must offer",
    )


def _broken(kind: str, cls: type) -> Iterator[str]:
    """What a class lacks of its kind."""
    for name in ATTRIBUTES.get(kind, ()):
        if not _has(cls, name):
            yield f"it has no `{name}`"
    if kind == "export" and getattr(cls, "looks_at_data", False):
        yield from against(cls, kinds.ObservingExport)
    elif kind == "schedule" and hasattr(cls, "companion"):
        yield from against(cls, kinds.DecidingSchedule)
    elif kind == "allocation" and hasattr(cls, "explore"):
        yield from against(cls, kinds.Explorer)
    elif kind in PROTOCOLS:
        yield from against(cls, getattr(kinds, PROTOCOLS[kind]))
    if kind == "metric":
        yield from _measures(cls)


def _measures(cls: Any) -> Iterator[str]:
    """How a metric measures depends on its source."""
    source = getattr(cls, "source", "")
    if source == "predictions":
        yield from against(cls, kinds.PredictionMetric)
    elif source in MEASURED:
        measure = inspect.getattr_static(cls, "measure", None)
        yield from _uncallable("measure", measure, ("self", *MEASURED[source])) if measure else ["it has no `measure`"]
    elif source:
        yield f"its `source` is {source!r}, and not one of predictions, {', '.join(MEASURED)}"


def against(cls: Any, protocol: Any) -> Iterator[str]:
    """What a class lacks of a Protocol, or has with other arguments."""
    for base in reversed(protocol.__mro__):
        asked = {**getattr(base, "__annotations__", {}), **vars(base)} if getattr(base, "_is_protocol", False) else {}
        for name, member in asked.items():
            if (name.startswith("_") and name != "__call__") or name in ("name", "kind"):
                continue
            if name == "at" and not getattr(cls, "target", ""):
                continue  # only patterns with a target have others
            if not _has(cls, name):
                yield f"it has no `{name}`"
            elif inspect.isfunction(member):
                yield from _uncallable(
                    name, inspect.getattr_static(cls, name), tuple(inspect.signature(member).parameters)
                )
    for abstract, names in ABSTRACT.items():
        base = getattr(kinds, abstract)
        if isinstance(cls, type) and base in cls.__mro__:
            if all(getattr(cls, name) is getattr(base, name) for name in names):
                yield f"it has no {listed((f'`{name}`' for name in names), last='or')}"
            return


def _has(cls: Any, name: str) -> bool:
    """Whether instances have this attribute: of the class, or a field."""
    return hasattr(cls, name) or name in getattr(cls, "__dataclass_fields__", {})


def _uncallable(name: str, found: Any, arguments: tuple[str, ...]) -> list[str]:
    """Why it cannot be called with these arguments; [] where it can."""
    function = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    if isinstance(found, staticmethod) and arguments[:1] == ("self",):
        arguments = arguments[1:]
    if not callable(function):
        return [f"its `{name}` is not a function"]
    try:
        signature = inspect.signature(function)
        signature.bind(*arguments)
    except TypeError:
        called = ", ".join(argument for argument in arguments if argument not in ("self", "cls"))
        return [f"its `{name}{signature}` cannot be called as `{name}({called})`"]
    except ValueError:  # a function of C, which does not say
        return []
    return []
