"""The profile: where things are on this machine. A recipe says what, `recipe.yaml` says where.

    data:      {cifar10: ~/images/cifar10}        # data roots, by the name that recipes use
    weights:   {"net.safetensors": /models/net.st}  # files of weights
    aliases:   {mynet: 'python("nets.py:build")'}   # short names for models and data sets
    device: cuda
    threads: 4
    store: /scratch/recipe
    launcher: local
    links: follow                                   # links in data folders, to folders and out of the data
    tracking: {mlflow: {uri: "sqlite:///runs.db"}}  # who is told of runs

Everything is optional. Nothing of it enters a key: contents do, paths do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.errors import Diagnostic, RecipeError, Refusal, Span, did_you_mean
from recipelang.files import expanded

if TYPE_CHECKING:
    import yaml

FILE_NAME = "recipe.yaml"
KEYS = ("data", "weights", "aliases", "device", "threads", "store", "launcher", "links", "tracking")
#: at most this many mistakes are reported
MOST_MISTAKES = 100
#: a longer profile was not written by hand
LONGEST = 400_000
LAUNCHERS = ("local",)
LINKS = ("refuse", "follow")
#: devices that a profile, a metric and the command line may name
DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")


@dataclass(frozen=True)
class Profile:
    """What `recipe.yaml` says; the default is what holds without one.

    Attributes:
        paths: name → file or folder, from `data` and `weights`.
        data: the names in `paths` that are data roots.
        aliases: name → expression of the recipe language that it stands for.
        device: `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads for training; None takes `OMP_NUM_THREADS`, else all cores.
        store: folder of the store; None takes the default.
        launcher: how work is started; `local` is this process.
        links: `follow` or `refuse`: how links to folders, and out of the data, are treated in folders of images.
        tracking: trackers that are told of runs, methods of kind `tracker`.
        path: the file that this was read from; None where there is none.
    """

    paths: Mapping[str, Path] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    store: Path | None = None
    launcher: str = "local"
    links: str = "refuse"
    tracking: tuple[Any, ...] = ()
    path: Path | None = None

    def resolve(self, path_or_alias: str, recipe_dir: Path) -> Path:
        """A path or name of a recipe as a path on this machine.

        Args:
            path_or_alias: a name of `data` or `weights`, or a path; a relative one starts at `recipe_dir`.
            recipe_dir: the folder of the recipe.

        Raises:
            Refusal: RCP1214: the path is invalid.
        """
        known = self.paths.get(path_or_alias)
        return known if known is not None else recipe_dir / expanded(path_or_alias)


def locate(folder: Path) -> Path | None:
    """The nearest `recipe.yaml` in `folder` or above it, up to the home folder or the root of the disk."""
    folder, home = folder.resolve(), None
    with suppress(RuntimeError):  # a user that the system does not know, in a container, has no home
        home = Path.home().resolve()
    for place in (folder, *folder.parents):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME
        if place == home:
            return None
    return None


def parse_profile(text: str, path: Path) -> Profile:
    """Read the text of a profile. Relative paths in it start at the profile's own folder.

    Raises:
        RecipeError: RCP1210 … RCP1214, RCP1220, RCP1221, all mistakes at once, each with its line.
    """
    reader = _Reader(path)
    values = reader.read(text)
    if reader.mistakes:
        raise RecipeError(sorted(reader.mistakes, key=lambda d: d.span.start if d.span else 0), text)

    def place(written: str) -> Path:
        return path.parent / expanded(written)

    roots, weights = values.get("data", {}), values.get("weights", {})
    return Profile(
        paths={name: place(where) for name, where in {**weights, **roots}.items()},
        data=tuple(roots),
        aliases=values.get("aliases", {}),
        device=values.get("device", "cpu"),
        threads=values.get("threads"),
        store=place(values["store"]) if "store" in values else None,
        launcher=values.get("launcher", "local"),
        links=values.get("links", "refuse"),
        tracking=values.get("tracking", ()),
        path=path,
    )


class _Reader:
    """Checks the YAML tree against the keys of a profile and collects what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[Diagnostic] = []

    def refuse(self, code: str, message: str, node: yaml.Node | None, help: str) -> None:
        if len(self.mistakes) >= MOST_MISTAKES:
            return
        span = _span(node.start_mark, node.end_mark) if node is not None else None
        self.mistakes.append(Diagnostic(code, message, span, help, str(self.path)))

    def read(self, text: str) -> dict[str, Any]:
        import yaml  # 20 ms, and most recipes have no profile

        if len(text) > LONGEST:
            message = f"this profile has {len(text)} characters; a profile has at most {LONGEST}"
            self.refuse("RCP1210", message, None, "check whether this file is a profile")
            return {}
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            span = _span(mark, mark) if mark else None
            message = f"the profile is not YAML: {error.problem or error.context}"
            help = "a line is `key: value`; indent with spaces, and quote text that contains `:` or `#`"
            self.mistakes.append(Diagnostic("RCP1210", message, span, help, str(self.path)))
            return {}
        except (yaml.YAMLError, RecursionError):
            self.refuse("RCP1210", "the profile is not YAML", None, "write lines of `key: value`")
            return {}
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            self.refuse("RCP1212", "the profile is not a list of keys and values", root, "write lines of `key: value`")
            return {}
        return {key: self.value(key, node) for key, node in self.entries(root, KEYS)}

    def entries(
        self, mapping: yaml.MappingNode, known: tuple[str, ...] = (), code: str = "RCP1211", what: str = "the profile"
    ) -> list[tuple[str, yaml.Node]]:
        """The (key, value node) pairs; keys that are unknown, not text or repeated are refused."""
        seen: dict[str, yaml.Node] = {}
        for key, node in mapping.value:
            if not _is(key, "str"):
                self.refuse("RCP1212", "a key of the profile must be a name", key, "quote it if it looks like a number")
            elif known and key.value not in known:
                guess = did_you_mean(key.value, known) if len(self.mistakes) < MOST_MISTAKES else ""
                help = f"{guess}keys: {', '.join(known)}"
                self.refuse(code, f"{what} has no key `{key.value}`", key, help)
            elif key.value in seen:
                self.refuse("RCP1213", f"`{key.value}` appears twice", key, "keep one of the two lines")
            else:
                seen[key.value] = node
        return list(seen.items())

    def value(self, key: str, node: yaml.Node) -> Any:
        """The checked value of one key; a mistake is noted, and the value is then meaningless."""
        if key in ("data", "weights", "aliases"):
            return self.names(key, node)
        if key == "tracking":
            from recipelang import trackers  # few profiles name any

            return trackers.read(node, self)
        problem = _problem(key, node)
        if problem:
            self.refuse("RCP1212", problem, node, f"write {_EXAMPLES[key]}")
            return None
        if key == "store":
            self.place(node)
        return int(node.value) if key == "threads" else node.value

    def names(self, key: str, node: yaml.Node) -> dict[str, str]:
        """`data`, `weights` and `aliases`: a mapping of names to texts."""
        import yaml

        if not isinstance(node, yaml.MappingNode):
            self.refuse("RCP1212", f"`{key}` is {_shown(node)}", node, f"write {_EXAMPLES[key]}")
            return {}
        found: dict[str, str] = {}
        for name, value in self.entries(node):
            if not _is(value, "str") or not value.value.strip():
                help = "write text, quoted if it looks like something else"
                self.refuse("RCP1212", f"`{key}: {name}` is {_shown(value)}", value, help)
            elif key == "aliases" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                help = "letters, digits and `_`, so that a recipe can write it as one word"
                self.refuse("RCP1212", f"the alias `{name}` is not a name", value, help)
            else:
                if key != "aliases":
                    self.place(value)
                found[name] = value.value
        return found

    def place(self, node: yaml.Node) -> None:
        """Refuse an invalid path."""
        try:
            expanded(node.value)
        except Refusal as refusal:
            self.refuse(refusal.code, refusal.message, node, refusal.help)


_EXAMPLES = {
    "data": "names and places: `data: {cifar10: /data/cifar10}`",
    "weights": "names and files: `weights: {net.safetensors: /models/net.safetensors}`",
    "aliases": "names and what they stand for: `aliases: {mynet: resnet56}`",
    "device": "`device: cpu`, `cuda` or `cuda:0`",
    "threads": "a whole number of at least 1: `threads: 2`",
    "store": "a folder: `store: /scratch/recipe`",
    "launcher": " or ".join(f"`launcher: {name}`" for name in LAUNCHERS),
    "links": " or ".join(f"`links: {name}`" for name in LINKS),
}


def _problem(key: str, node: yaml.Node) -> str:
    """What is wrong with the single value of this key; "" where nothing is."""
    if not _is(node, "int" if key == "threads" else "str"):
        return f"`{key}` is {_shown(node)}"
    if key == "threads" and not re.fullmatch(r"[1-9][0-9]{0,3}", node.value):
        return f"`threads` is `{node.value}`"
    if key == "device" and not DEVICE.fullmatch(node.value):
        return f"there is no device `{node.value}`"
    if key == "launcher" and node.value not in LAUNCHERS:
        return f"there is no launcher `{node.value}`"
    if key == "links" and node.value not in LINKS:
        return f"`links` is `{node.value}`"
    return "" if node.value.strip() else f"`{key}` is empty"


def _is(node: yaml.Node, type_name: str) -> bool:
    """Whether a YAML node is a single value of this type (`str`, `int`, …)."""
    return bool(node.tag == f"tag:yaml.org,2002:{type_name}") and isinstance(node.value, str)


def _shown(node: yaml.Node) -> str:
    """The value of a node for a message."""
    if not isinstance(node.value, str):
        return "a list" if node.tag == "tag:yaml.org,2002:seq" else "a mapping"
    return f"`{node.value}`" if node.value else "empty"


def _span(start: yaml.Mark, end: yaml.Mark) -> Span:
    """YAML marks count lines and columns from 0."""
    return Span(start.index, end.index, start.line + 1, start.column + 1, end.line + 1, end.column + 1)
