"""The texts that an editor has open, with the files and the profile beside them, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from recipelang.editor.analysis import Analysis, analyse
from recipelang.editor.modules import Modules, known, model_of
from recipelang.errors import Diagnostic, RecipeError
from recipelang.files import used_text
from recipelang.profile import Profile, locate, parse_profile

#: of more recipes beside one, these are offered
MOST_FILES = 500


@dataclass
class Documents:
    """What is open, by the path of each file; a text that was never saved has a path of its own that is no file.

    Attributes:
        texts: path → text as it is in the editor, which may differ from the file.
        known: path → the last analysis of a text.
    """

    texts: dict[Path, str] = field(default_factory=dict)
    known: dict[Path, Analysis] = field(default_factory=dict)
    _profiles: dict[Path, tuple[tuple[int, int], Profile]] = field(default_factory=dict)

    def analyse(self, path: Path, text: str) -> Analysis:
        """Analyse a text, with the profile and the files beside it as they are now, and remember it."""
        self.known[path] = self.as_if(path, {path.name: text})
        return self.known[path]

    def as_if(self, path: Path, texts: Mapping[str, str]) -> Analysis:
        """The analysis of a file that there would be with other texts of it and of files that it uses.

        Args:
            path: the recipe.
            texts: that of the recipe under its name, those of others under their paths from its folder.
        """
        profile, wrong = self._profile(path.parent) if path.is_absolute() else (Profile(), ())

        def text_of(name: str) -> str:
            return texts[name] if name in texts else self.beside(path, name)

        found = analyse(texts[path.name], path.name, aliases=profile.aliases, text_of=text_of)
        return replace(found, diagnostics=(*wrong, *found.diagnostics)) if wrong else found

    def beside(self, path: Path, name: str) -> str:
        """The text of a file that a recipe names.

        Raises:
            OSError: it cannot be read, or the recipe is not in a folder.
            UnicodeDecodeError: it is not UTF-8 text.
        """
        if not path.is_absolute():
            raise OSError(0, "this text is not in a folder")
        return self.text_of(path.parent / name)

    def text_of(self, path: Path) -> str:
        """The text of a file, as it is in the editor where it is open there.

        Raises:
            OSError: it cannot be read.
            UnicodeDecodeError: it is not UTF-8 text.
        """
        path = Path(*_normal(path))
        return self.texts[path] if path in self.texts else used_text(path)

    def modules_of(self, path: Path) -> Modules:
        """The modules of the network of an open recipe, where a command has built it on this machine before."""
        aliases = self._profile(path.parent)[0].aliases if path.is_absolute() else {}
        method = model_of(self.texts[path], aliases)
        return known(method, path.parent.resolve()) if method is not None else ()

    def recipes_in(self, folder: Path) -> list[str]:
        """The recipes in a folder and the folders in it, relative to it; none where it is not a folder."""
        if not folder.is_absolute():
            return []
        places = (*folder.glob("*.rcp"), *folder.glob("*/*.rcp"))
        return sorted(place.relative_to(folder).as_posix() for place in islice(places, MOST_FILES))

    def users_of(self, path: Path) -> list[Path]:
        """The open texts that use a file, or did so when they were last analysed."""
        return [
            other
            for other, found in self.known.items()
            if other != path and any(Path(*_normal(other.parent / name)) == path for name in found.files)
        ]

    def _profile(self, folder: Path) -> tuple[Profile, tuple[Diagnostic, ...]]:
        """The nearest profile, and what is wrong with it; it is read again when its file changes."""
        try:
            place = locate(folder)
            if place is None:
                return Profile(), ()
            state = place.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            last = self._profiles.get(place)
            if last is None or last[0] != stamp:
                last = stamp, parse_profile(self.text_of(place), place)
                self._profiles[place] = last
            return last[1], ()
        except RecipeError as error:
            return Profile(), error.diagnostics
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            return Profile(), (Diagnostic("RCP1201", f"the profile cannot be read: {why}", path=str(folder)),)


def _normal(path: Path) -> tuple[str, ...]:
    """The parts of a path, without `.` and `..`; links are not followed."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return tuple(parts)
