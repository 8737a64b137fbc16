"""What a shell completes after `recipe`: commands and options by click itself, here the words that it cannot know."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class, split_arg_string

from recipelang.commands.boundary import DONE

#: the variable in which a shell asks for completions, as click names it
ASKED = "_RECIPE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
Find = Callable[[click.Context, str], Iterable[str]]


class _Completed(click.types.StringParamType):
    """Text of which the shell completes the words that `find` gives, or files where it is None."""

    def __init__(self, find: Find | None) -> None:
        self._find = find

    def shell_complete(self, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        if self._find is None:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(word) for word in self._find(context, incomplete) if word.startswith(incomplete)]


def _words(context: click.Context, incomplete: str) -> Iterable[str]:
    from recipelang import vocabulary

    return sorted(vocabulary.known())


def _kinds(context: click.Context, incomplete: str) -> Iterable[str]:
    from recipelang.catalogue import FOLDERS

    return ("verb", *FOLDERS)


def _methods(kind: str) -> Find:
    def find(context: click.Context, incomplete: str) -> Iterable[str]:
        from recipelang import catalogue

        names = catalogue.names(kind)
        head, dot, _ = incomplete.partition(".")
        if dot and head in names:
            return sorted(f"{head}.{rest}" for rest in getattr(catalogue.find(kind, head), "dotted_names", frozenset)())
        return names

    return find


def _forms(context: click.Context, incomplete: str) -> Iterable[str]:
    """Forms of reports, after a comma too."""
    from recipelang import catalogue

    before, comma, _ = incomplete.rpartition(",")
    given = before.split(",")
    return (f"{before}{comma}{name}" for name in catalogue.names("report") if name not in given)


def _lets(context: click.Context, incomplete: str) -> Iterable[str]:
    """`NAME=` of every `let` of the recipe that the command line names; click has not read it, since the line that is
    typed is wrong: an option without its value."""
    typed = split_arg_string(os.environ.get("COMP_WORDS", ""))
    name = next((word for word in typed if word.endswith(".rcp")), "")
    try:
        text = Path(name).read_text(encoding="utf-8") if name else ""
    except (OSError, ValueError):
        text = ""
    return (f"{found}=" for found in dict.fromkeys(re.findall(r"^[ \t]*let[ \t]+(\w+)", text, re.MULTILINE)))


def _devices(context: click.Context, incomplete: str) -> Iterable[str]:
    return ("cpu", "cuda", "cuda:0")


#: parameter of a command → what completes it
_FOUND: dict[str, Find | None] = {
    **dict.fromkeys(("file", "files", "profile", "folder", "out", "store", "run", "runs", "template"), None),
    "words": _words,
    "kind": _kinds,
    "model": _methods("model"),
    "data": _methods("data"),
    "task": _methods("task"),
    "forms": _forms,
    "sort": _methods("metric"),
    "sets": _lets,
    "device": _devices,
}


def prepare(command: click.Command) -> None:
    """Have the parameters of a command say what completes them; only where a shell asks."""
    for parameter in command.params:
        if parameter.name in _FOUND and not isinstance(parameter.type, click.Choice) and not _is_flag(parameter):
            parameter.type = _Completed(_FOUND[parameter.name])


def _is_flag(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.is_flag


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what a shell needs to complete commands, options, files and the words of recipes.

    \b
    bash: echo 'eval "$(recipe completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(recipe completion zsh)"' >> ~/.zshrc
    fish: recipe completion fish > ~/.config/fish/completions/recipe.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "recipe", ASKED).source())
    return DONE
