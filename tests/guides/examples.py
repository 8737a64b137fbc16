"""The fenced examples of README.md and docs/, and how a reader who types them in would fare.

Blocks of a page run in its order, in one folder. What a block is, its language says:

- `recipe`: checks without a warning; runs with `--smoke` where it names a model and data.
- `python`: runs; later blocks see its names. With IPython's `%` on the page, as cells of a notebook.
- `console`: every `$ command` is run (`recipe run` with `--smoke`) and ends with code 0, or with that of `$ echo $?`
  after it; where the answer of a command is shown and nothing in it is measured, it is compared. `…` stands for any
  lines.
- `yaml`, `toml`, `json`: can be read; tags that other tools give to values of YAML stay names.
- `sh`: what changes the reader's machine (installation). Never run, and never a command of `recipe` alone.
- `text` and other languages: shown.

After the language may stand `file="net.py"` (the block is written to this file, and not run), `wrong="first.rcp"` (a
recipe that `check` refuses with the words of the block after it) and `needs="a GPU"` (why the block is not run; a
recipe is checked all the same).
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from recipelang.cli import main
from recipelang.kinds import Measurement

ROOT = Path(__file__).parent.parent.parent
#: printed from cards, whose examples other tests read, like docs/gallery/ (tests/guides/test_gallery.py)
PRINTED = {"docs/verbs.md", "docs/methods.md", "docs/errors.md", "docs/catalogue.md"}
#: what is shown and not run: prose in a fence, and settings of other programs
SHOWN = {"", "text", "lua", "sh"}
#: commands whose answer is the same on every machine
SAME = {"check", "fmt", "explain", "list", "layers", "migrate"}

_BLOCK = re.compile(r"^(?P<mark>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=mark)$", re.MULTILINE | re.DOTALL)
_READERS: dict[str, Callable[[str], object]] = {"yaml": yaml.compose, "toml": tomllib.loads, "json": json.loads}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    keys: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """README.md and every page of docs/ that a person wrote."""
    found = (str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))
    return ["README.md", *(page for page in found if page not in PRINTED and not page.startswith("docs/gallery/"))]


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        language, _, rest = match["info"].partition(" ")
        keys = dict(re.findall(r'(\w+)="([^"]+)"', rest))
        assert not re.sub(r'\w+="[^"]+"', "", rest).strip(), f"{page}: {match['info']}"
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language, keys, match["text"]))
    return found


def cut(block: Block) -> list[tuple[str, str]]:
    """A console block as (command, what is shown as its answer)."""
    found: list[tuple[str, str]] = []
    for line in block.text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            assert found, f"{block}: no `$ command` in the first line"
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def called(arguments: list[str]) -> tuple[int, str]:
    """A `recipe` command in this process: (exit code, what a terminal shows)."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as left:
            return int(left.code or 0), said.getvalue()
    return 0, said.getvalue()


def same(shown: str, said: str) -> bool:
    """Whether an answer is the one shown, where `…` alone in a line stands for any lines."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else f"{re.escape(line)}\\n" for line in shown.strip().splitlines()]
    told = "".join(f"{line.rstrip()}\n" for line in said.strip().splitlines())
    return re.fullmatch("".join(lines), told) is not None


class Clock:
    """Stands in for the machine's, which takes its time: a latency is in proportion to the number of parameters."""

    @staticmethod
    def read(metric: Any, mine: Any, theirs: Any, *shape: Any) -> Measurement:
        mine, theirs = (2000 + sum(each.numel() for each in one.module.parameters()) for one in (mine, theirs))
        ratio = mine / theirs
        return Measurement(mine / 1e9, mine / 1e9, mine / 1e9, n=9, ratio=ratio, ratio_low=ratio, ratio_high=ratio)


class Reader:
    """Somebody who types a page in, block after block, in an empty folder that is the current one.

    Args:
        page: its path in the repository.
        smoke: run recipes with a few batches; False: as they are, and answers of exit codes are exact.
    """

    def __init__(self, page: str, smoke: bool = True) -> None:
        self.page, self.smoke = page, smoke
        self.all = blocks(page)
        self.module = ModuleType(f"page_{re.sub(r'[^a-z]', '_', page.lower())}")
        self.module.__file__ = str(Path("typed.py").resolve())
        self.shell = None

    def read(self) -> None:
        """Every block in order; an AssertionError names the block that is not as the page says."""
        sys.modules[self.module.__name__] = self.module
        try:
            for number, block in enumerate(self.all):
                self.one(block, self.all[number + 1] if number + 1 < len(self.all) else None)
        finally:
            del sys.modules[self.module.__name__]

    def one(self, block: Block, after: Block | None) -> None:
        if "file" in block.keys:
            path = Path(block.keys["file"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.language in _READERS:
            _READERS[block.language](block.text)
        elif block.language == "recipe":
            self.recipe(block, after)
        elif block.language == "python":
            compile(block.text, str(block), "exec") if not self.cells else None
            if not block.keys.keys() & {"file", "needs"}:
                self.python(block)
        elif block.language == "console":
            if "needs" not in block.keys:
                self.console(block)
        else:
            assert block.language in SHOWN, f"{block}: {block.language}"

    # recipes ------------------------------------------------------------------------------------------

    def recipe(self, block: Block, after: Block | None) -> None:
        name = block.keys.get("wrong") or block.keys.get("file") or "example.rcp"
        Path(name).write_text(block.text, encoding="utf-8")
        code, said = called(["check", name])
        if "wrong" in block.keys:
            assert after is not None and code == 1, f"{block}: {said}"
            assert said.strip() == after.text.strip(), f"{block}: {said}"
            return
        assert code == 0 and re.fullmatch(r"\S+: ok, \d+ statements?\n", said), f"{block}: {said}"
        named = all(re.search(rf"^{verb} ", block.text, re.MULTILINE) for verb in ("model", "data"))
        if named and not block.keys.keys() & {"needs", "file"}:
            self.command(block, ["run", name, "--trust"], None, "")

    # Python -------------------------------------------------------------------------------------------

    @property
    def cells(self) -> bool:
        return any(b.language == "python" and b.text.startswith("%") for b in self.all)

    def python(self, block: Block) -> None:
        if self.cells:
            self.cell(block)
            return
        path = Path(str(self.module.__file__))
        typed = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(typed + "\n" * (block.line - typed.count("\n")) + block.text, encoding="utf-8")
        linecache.checkcache()
        code = compile("\n" * block.line + block.text, str(path), "exec")  # so that `inspect` finds the text of classes
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(code, self.module.__dict__)

    def cell(self, block: Block) -> None:
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            shell.run_cell(block.text).raise_error()

    # commands -----------------------------------------------------------------------------------------

    def console(self, block: Block) -> None:
        commands = cut(block)
        for number, (command, shown) in enumerate(commands):
            if command == "echo $?":
                continue
            asked = commands[number + 1] if number + 1 < len(commands) else ("", "")
            expected = int(asked[1]) if asked[0] == "echo $?" else None
            words = shlex.split(
                re.sub(r" > [\w./-]+$", "", command), comments=True
            )  # `> file` says what a reader may do
            if words[0] == "recipe":
                self.command(block, words[1:], expected, shown)
            else:
                done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
                assert done.returncode == (expected or 0), f"{block}: {command}\n{done.stdout}{done.stderr}"

    def command(self, block: Block, words: list[str], expected: int | None, shown: str) -> None:
        trains = words[0] == "run"
        code, said = called([words[0], *(["--smoke"] if trains and self.smoke else []), *words[1:]])
        right = {expected or 0}
        if self.smoke and (trains or "--fail-if" in words):
            right = {0, 4}  # a few batches teach nothing: a verdict may be missed
        assert code in right, f"{block}: recipe {shlex.join(words)} ended with {code}\n{said}"
        if words[0] in SAME and shown.strip():
            assert same(shown, said), f"{block}: recipe {shlex.join(words)} says\n{said}"


def left_out() -> Iterator[Block]:
    """Every block that is not run, with its reason in `needs`."""
    return (block for page in pages() for block in blocks(page) if "needs" in block.keys)
