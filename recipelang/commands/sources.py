"""From what the command line names to a checked plan: the recipe's text, the profile, the check."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recipelang.commands.boundary import WrongUsage, print_diagnostics
from recipelang.errors import Diagnostic, RecipeError, Refusal
from recipelang.files import MOST_BYTES, expanded, shortened, used_text
from recipelang.profile import DEVICE, Profile, locate, parse_profile
from recipelang.trackers import KIND, NONE

if TYPE_CHECKING:
    from recipelang.plan import Plan


class PathArgument(click.ParamType):
    """A path on the command line: `~` is expanded where the shell did not (`--out=~/runs/a`)."""

    name = "path"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        """The path.

        Raises:
            click.BadParameter: the path is invalid.
        """
        try:
            return value if isinstance(value, Path) else expanded(str(value))
        except Refusal as refusal:
            self.fail(f"{refusal.message}.", parameter, context)


@dataclass(frozen=True)
class Source:
    """A recipe's text and where it came from.

    Attributes:
        text: the recipe.
        path: as a diagnostic shows it; a file's own path, else `<stdin>` or `<command line>`.
        folder: where its relative paths start.
        file: the file; None for stdin and the command line.
    """

    text: str
    path: str
    folder: Path
    file: Path | None = None

    def text_at(self, path: str) -> str:
        """The text that a diagnostic's path means: this recipe, a recipe that it uses, or the profile."""
        if path in ("", self.path):
            return self.text
        try:
            return read_text(self.folder / path)
        except RecipeError:
            return ""


def sources(files: Iterable[str], oneliner: str | None) -> list[Source]:
    """The recipes that the command line names.

    Raises:
        click.UsageError: none is named, or files and `-e` together.
        RecipeError: RCP1201, RCP1202: a file cannot be read.
    """
    named = list(files)
    if named and oneliner is not None:
        raise click.UsageError("Name files or give a recipe with -e, not both.")
    if oneliner is not None:
        return [Source(oneliner, "<command line>", Path.cwd())]
    if not named:
        raise click.UsageError("Name a recipe file, `-` for standard input, or give a recipe with -e.")
    return [source(name) for name in named]


def source(name: str) -> Source:
    """The recipe in the file `name`, or on standard input where it is `-`."""
    if name == "-":
        return Source(_decoded(sys.stdin.buffer.read(MOST_BYTES), "<stdin>"), "<stdin>", Path.cwd())
    file = _placed(name)
    return Source(read_text(file), name, file.resolve().parent, file)


def _placed(name: str) -> Path:
    """The path of a file that the command line names.

    Raises:
        WrongUsage: RCP1214: the path is invalid.
    """
    try:
        return expanded(name)
    except Refusal as refusal:
        raise WrongUsage([refusal.at(None, shortened(name))]) from None


def read_text(file: Path) -> str:
    """The text of a file, line ends as they are.

    Raises:
        RecipeError: RCP1201 (exit 2): there is no such file, or it cannot be read. RCP1202: it is not text.
    """
    try:
        return _decoded(_bytes(file), str(file))
    except OSError as error:
        why = "it is a folder" if file.is_dir() else (error.strerror or str(error)).lower()
        help = "name a recipe file inside it" if file.is_dir() else "check the spelling and the current folder"
        raise WrongUsage([Diagnostic("RCP1201", f"cannot read `{file}`: {why}", help=help)]) from None


def _bytes(file: Path) -> bytes:
    """The content of a file, up to far more than any recipe: some files have no end."""
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES)


def _decoded(raw: bytes, path: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        message = f"`{path}` is not UTF-8 text: byte {error.start} in line {line}"
        raise RecipeError([Diagnostic("RCP1202", message, help="save the file as UTF-8 text")]) from None


def profile_for(folder: Path, named: str | None) -> Profile:
    """The profile that `--profile` names, else the nearest `recipe.yaml`, else the default one."""
    path = _placed(named) if named else locate(folder)
    return parse_profile(read_text(path), path) if path else Profile()


@dataclass(frozen=True)
class Request:
    """What the command line adds to a recipe: see the options of `recipe run`."""

    profile: str | None = None
    model: str | None = None
    data: str | None = None
    sets: Mapping[str, str] | None = None
    control: bool = False
    seeds: tuple[int, ...] | None = None


def checked(recipe: Source, request: Request) -> tuple[Plan, Profile]:
    """Parse and check a recipe; its mistakes are raised, its warnings belong to the plan.

    Raises:
        RecipeError: the recipe or the profile is wrong; all mistakes at once.
    """
    from recipelang.check import check
    from recipelang.syntax.parse import read

    profile = profile_for(recipe.folder, request.profile)
    tree, mistakes = read(recipe.text, recipe.path)
    if not tree.body.items and not mistakes:
        help = "write a statement: `prune layers by imprint until latency < 0.7`"
        raise RecipeError([Diagnostic("RCP1203", "the recipe is empty", None, help, recipe.path)], recipe.text)
    plan = check(
        tree,
        profile=profile.aliases,
        model=request.model,
        data=request.data,
        sets=request.sets or {},
        control=request.control,
        seeds=request.seeds,
        read=lambda path: used_text(recipe.folder / path),
        mistakes=mistakes,
    )
    return plan, profile


@contextmanager
def pointing_at(recipe: Source) -> Iterator[None]:
    """Print mistakes and failed steps at their lines of this recipe and of the files that it uses, and leave."""
    try:
        yield
    except RecipeError as error:
        print_diagnostics(error.diagnostics, recipe.text_at)
        raise click.exceptions.Exit(error.exit_code) from None


def seeds_of(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """`0,1,2` or `0..4` as numbers; a click callback."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text.strip())
    if match and 0 <= int(match[2]) - int(match[1]) < 1000:
        return tuple(range(int(match[1]), int(match[2]) + 1))
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}", part) for part in parts) or len(set(map(int, parts))) != len(parts):
        raise click.BadParameter(f"`{text}` is not a list of distinct whole numbers; write `0,1,2` or `0..4`.")
    return tuple(int(part) for part in parts)


def sets_of(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE`, any number of times; a click callback."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise click.BadParameter(f"`{text}` sets nothing; write `NAME=VALUE`.")
        if name.strip() in found:
            raise click.BadParameter(f"`{name.strip()}` is set twice.")
        found[name.strip()] = value.strip()
    return found


def device_of(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """`cpu`, `cuda` or `cuda:N`; a click callback."""
    if text is not None and not DEVICE.fullmatch(text):
        raise click.BadParameter(f"there is no device `{text}`; write `cpu`, `cuda` or `cuda:0`.")
    return text


def trackers_of(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Any, ...] | None:
    """`mlflow`, `mlflow(experiment="mine"), tensorboard` as trackers, any number of times, `none` as no tracker; None
    where nothing is given; a click callback.

    Raises:
        WrongUsage: one of them is wrong, at its place in the option.
    """
    if not texts:
        return None
    if [text.strip() for text in texts] == [NONE]:
        return ()
    return tracked(texts, Path.cwd(), "--track ")


def tracked(texts: Iterable[str], folder: Path, option: str) -> tuple[Any, ...]:
    """The trackers that some texts name, with their settings, as a recipe would write them.

    Args:
        texts: one or several trackers each.
        folder: where relative paths of their settings start.
        option: as it is shown before a text: `--track `.

    Raises:
        WrongUsage: one of them is wrong, at its place in the text.
    """
    from recipelang.meaning.typed import methods  # few runs name any, and the language takes a while to load

    try:
        found = [one for text in texts for one in methods(text, KIND, option, {})]
    except RecipeError as error:
        raise WrongUsage(error.diagnostics, error.text) from None
    return tuple(tracker.placed(folder) for tracker in dict.fromkeys(found))
