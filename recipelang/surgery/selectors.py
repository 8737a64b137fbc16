"""From the `in` and `except` of a recipe to module paths. An entry that matches nothing is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from recipelang.errors import Refusal
from recipelang.plan import Selection, Selector
from recipelang.surgery.candidates import Candidate


def resolve(module: nn.Module, selection: Selection) -> tuple[str, ...]:
    """The paths of the selected modules, in the order of the network.

    A selector selects what it names and everything inside it: `"layer4"` also takes `layer4.0.conv1`.

    Args:
        module: the network.
        selection: what `in` names (all modules where it is empty) without what `except` names.

    Raises:
        Refusal: RCP0703: an entry matches nothing, or nothing is left.
    """
    paths = [path for path, _ in module.named_modules() if path]
    chosen = _matching(module, selection.include) if selection.include else set(paths)
    chosen -= _matching(module, selection.exclude)
    if not chosen and (selection.include or selection.exclude):
        raise Refusal(
            "RCP0703",
            "`except` excludes all that `in` names: no module is left",
            "name more in `in` or less in `except`",
        )
    return tuple(path for path in paths if path in chosen)


def select_layers(module: nn.Module, layers: Iterable[Candidate], selection: Selection) -> tuple[Candidate, ...]:
    """The layers that a selection allows to be removed: selected whole, nothing inside them excluded."""
    chosen = set(resolve(module, selection))
    protected = _matching(module, selection.exclude)

    def free(layer: Candidate) -> bool:
        return chosen.issuperset(layer.paths) and not any(
            path == whole or path.startswith(whole + ".") for whole in layer.paths for path in protected
        )

    return tuple(layer for layer in layers if free(layer))


def _matching(module: nn.Module, selectors: Iterable[Selector]) -> set[str]:
    """Everything that one of the selectors names, with everything inside."""
    named = dict(module.named_modules())
    named.pop("", None)
    weighted = with_weights(module)
    found: set[str] = set()
    for selector in selectors:
        hit = [path for path, part in named.items() if _names(selector, path, part, weighted)]
        if not hit:
            raise _no_match(selector, named)
        found.update(path for path in named if any(path == top or path.startswith(top + ".") for top in hit))
    return found


def _names(selector: Selector, path: str, part: nn.Module, weighted: list[str]) -> bool:
    """Whether the selector names this module; `weighted` are the paths of the layers with weights."""
    if selector.how == "glob":
        return fnmatchcase(path, selector.text)
    if selector.how == "type":
        return any(cls.__name__ == selector.text for cls in type(part).__mro__[: type(part).__mro__.index(nn.Module)])
    return path == weighted[0 if selector.how == "first" else -1] if weighted else False


def with_weights(module: nn.Module) -> list[str]:
    """The paths of the modules that directly hold a weight of two or more axes, in the order of the network."""
    return [path for path, part in module.named_modules() if any(p.ndim >= 2 for p in part.parameters(recurse=False))]


def _no_match(selector: Selector, named: dict[str, nn.Module]) -> Refusal:
    """The refusal for a selector without a match, with the closest names."""
    if selector.how == "type":
        count: dict[str, int] = {}
        for part in named.values():
            count[type(part).__name__] = count.get(type(part).__name__, 0) + 1
        near = (
            difflib.get_close_matches(selector.text, count, n=3, cutoff=0.4)
            or sorted(count, key=lambda name: -count[name])[:3]
        )
        shown = [f"`type({name})` ({_modules(count[name])})" for name in near]
    else:
        globs = dict.fromkeys(named, 1)
        for path in named:
            inside = sum(other.startswith(path + ".") for other in named)
            globs |= {f"{path}.*": inside} if inside else {}
        near = (
            difflib.get_close_matches(selector.text, globs, n=3, cutoff=0.4)
            or [g for g in globs if g.endswith(".*")][:3]
            or list(named)[:3]
        )
        shown = [f'`"{glob}"` ({_modules(globs[glob])})' for glob in near]
    offer = f"nearest: {', '.join(shown)}" if shown else "the network has no modules to select"
    help = f"{offer}; `recipe layers MODEL` lists them all"
    return Refusal("RCP0703", f"`{selector}` matches no module", help, selector.span)


def _modules(count: int) -> str:
    return f"{count} module{'s' if count != 1 else ''}"
