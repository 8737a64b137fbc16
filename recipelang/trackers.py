"""`tracking` of a profile and `--track`: which trackers are told of runs, with their settings.

tracking: mlflow
tracking: [mlflow, tensorboard]
tracking: {mlflow: {uri: "sqlite:///runs.db", experiment: resnets}, tensorboard: {}}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recipelang.catalogue import Setting, find, names, settings
from recipelang.errors import Refusal, SettingError, did_you_mean
from recipelang.units import listed

if TYPE_CHECKING:
    import yaml

KIND, NONE = "tracker", "none"


class Reader(Protocol):
    """What reads a profile and notes its mistakes."""

    path: Path

    def refuse(self, code: str, message: str, node: yaml.Node | None, help: str) -> None: ...

    def entries(
        self, mapping: yaml.MappingNode, known: tuple[str, ...] = (), code: str = "", what: str = ""
    ) -> list[tuple[str, yaml.Node]]: ...


def read(node: yaml.Node, reader: Reader) -> tuple[Any, ...]:
    """The trackers that a profile names; what is wrong is noted.

    Args:
        node: the value of `tracking`: a name, a list of names, or names with their settings.
        reader: notes RCP1212, RCP1213, RCP1220, RCP1221.
    """
    import yaml

    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    asked = [one for item in items for one in _item(item, reader)]
    found: dict[str, Any] = {}
    for name, place, given in asked:
        if name in found:
            reader.refuse("RCP1213", f"`{name}` appears twice", place, "name each tracker once")
        elif (made := _tracker(name, place, given, reader)) is not None:
            found[name] = made
    return tuple(found.values())


def _item(node: yaml.Node, reader: Reader) -> list[tuple[str, yaml.Node, yaml.Node | None]]:
    """The name of a tracker, or names with their settings: name, its place, its settings."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        return [(name, value, value) for name, value in reader.entries(node)]
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str") and node.value.strip():
        return [(node.value, node, None)]
    help = "write `tracking: mlflow`, or `tracking: {mlflow: {experiment: mine}}`"
    reader.refuse("RCP1212", "`tracking` names trackers", node, help)
    return []


def _tracker(name: str, place: yaml.Node, given: yaml.Node | None, reader: Reader) -> Any | None:
    """The tracker with its settings; None where something is wrong."""
    import yaml

    try:
        cls = find(KIND, name)
    except Refusal as refusal:  # of a plug-in
        reader.refuse(refusal.code, refusal.message, place, refusal.help)
        return None
    if cls is None:
        known = names(KIND)
        help = f"{did_you_mean(name, known)}trackers: {', '.join(known)}"
        reader.refuse("RCP1220", f"there is no tracker `{name}`", place, help)
        return None
    known_settings = {setting.name: setting for setting in settings(cls)}
    example = next(iter(known_settings), "")
    if given is None or (isinstance(given, yaml.ScalarNode) and given.tag.endswith(":null")):
        entries = []
    elif isinstance(given, yaml.MappingNode):
        entries = reader.entries(given, tuple(known_settings), "RCP1221", f"`{name}`")
    else:
        reader.refuse("RCP1221", f"`{name}` takes settings", given, f"write `{name}: {{{example}: …}}`")
        return None
    values, right = {}, given is None or len(entries) == len(getattr(given, "value", ()))
    for key, node in entries:
        values[key] = _value(known_settings[key], node)
        if values[key] is None:
            right = False
            reader.refuse("RCP1221", f"`{key}` of `{name}` takes {_takes(known_settings[key])}", node, "")
    try:
        return cls(**values).placed(reader.path.parent) if right else None
    except SettingError as wrong:
        node = dict(entries).get(wrong.field, place)
        reader.refuse("RCP1221", wrong.message, node, wrong.help)
    except Refusal as refusal:  # a path that is none
        reader.refuse(refusal.code, refusal.message, place, refusal.help)
    return None


def _value(setting: Setting, node: yaml.Node) -> Any | None:
    """The value of a setting; None where it is of another type, or outside of its bounds."""
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        return None
    value = yaml.SafeLoader("").construct_object(node)
    if setting.type == "boolean":
        return value if isinstance(value, bool) else None
    if setting.type in ("integer", "number"):
        fits = isinstance(value, int if setting.type == "integer" else int | float) and not isinstance(value, bool)
        low = setting.low is None or (fits and (value > setting.low or (value == setting.low and not setting.open_low)))
        high = setting.high is None or (fits and value <= setting.high)
        return value if fits and low and high else None
    if not isinstance(value, str) or not value.strip():
        return None
    return value if setting.type != "word" or value in setting.choices else None


def _takes(setting: Setting) -> str:
    """What a setting takes, in words."""
    if setting.type == "word":
        return listed((f"`{choice}`" for choice in setting.choices), last="or")
    kind = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "text": "text"}
    ends = f" from {setting.low:g}" if setting.low is not None else ""
    ends += f" up to {setting.high:g}" if setting.high is not None else ""
    return f"{kind.get(setting.type, setting.type)}{ends}"
