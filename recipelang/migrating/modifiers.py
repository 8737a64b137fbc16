"""What SparseML and LLM Compressor share: modifiers, by tag or by name, in groups and stages, with variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from recipelang.migrating.evaluating import filled
from recipelang.migrating.finding import Findings
from recipelang.migrating.reading import Value, Wrong


@dataclass(frozen=True)
class Modifier:
    """A modifier of a file, its expressions computed.

    Attributes:
        name: of its class.
        stage: "" where the file has no stages.
    """

    name: str
    value: Value
    stage: str = ""


def has_tags(root: Value) -> bool:
    """Whether a file has modifiers as tags: `- !GMPruningModifier`."""
    return any(value.tag.endswith("Modifier") for value in root.walk())


def has_names(root: Value) -> bool:
    """Whether a file has modifiers as keys, in groups: `sparsity_modifiers: {SparseGPTModifier: …}`."""
    return any(
        name.endswith("Modifier") and isinstance(inside.data, dict)
        for value in root.walk()
        for name, inside in value.mapping.items()
    )


def modifiers(root: Value, findings: Findings) -> list[Modifier]:
    """All modifiers in the order of the file.

    Raises:
        Wrong: RCP1263: an expression cannot be computed; RCP1264: there is no modifier.
    """
    found = list(_inside(root, _variables(root), "", findings))
    if not found:
        help = "modifiers are `- !NameModifier` or `NameModifier:` under a key like `pruning_modifiers`"
        raise Wrong("RCP1264", "the file has no modifiers", root, help)
    return found


def _variables(value: Value) -> dict[str, Value]:
    """Names of a level that are no groups of modifiers; `args` too."""
    own = {name: one for name, one in value.mapping.items() if not _is_group(name, one)}
    return {**own, **(value.get("args").mapping if value.get("args") else {})}  # type: ignore[union-attr]


def _is_group(name: str, value: Value) -> bool:
    return name.endswith(("modifiers", "_stage", "Modifier")) or (name == "default_stage" and bool(value.mapping))


def _inside(value: Value, variables: Mapping[str, Value], stage: str, findings: Findings) -> Iterator[Modifier]:
    for item in value.data if isinstance(value.data, tuple) else ():
        yield from _listed(item, variables, stage, findings)
    for name, inside in value.mapping.items():
        if name.endswith("Modifier"):
            yield Modifier(name, _computed(name, inside, variables, findings), stage)
        elif _is_group(name, inside):
            here = name.removesuffix("_stage") if name.endswith("_stage") else stage
            yield from _inside(inside, {**variables, **_variables(inside)}, here, findings)


def _listed(item: Value, variables: Mapping[str, Value], stage: str, findings: Findings) -> Iterator[Modifier]:
    """An item of a list: tagged, or a mapping of names."""
    if item.tag:
        yield Modifier(item.tag, _computed(item.tag, item, variables, findings), stage)
    elif item.mapping:
        yield from _inside(item, variables, stage, findings)
    else:
        findings.missing(item, item.text[:60] or "(empty)", "it is not a modifier")


def _computed(name: str, value: Value, variables: Mapping[str, Value], findings: Findings) -> Value:
    undefined: list[Value] = []
    found = filled(value, variables, undefined)
    for one in undefined:
        why = f"`{one.text[:60]}` uses a variable that the file does not define"
        findings.missing(one, name, why, "its value, written into the file or the recipe")
    return found
