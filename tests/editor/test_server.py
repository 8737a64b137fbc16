"""The server as an editor sees it: over standard input and output, from the first message to the last."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from talking import PATIENCE, Editor, talking

pytest.importorskip("pygls", reason="the language server needs the extra `lsp`")

OPTIONS = {"tabSize": 2, "insertSpaces": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module")
def editor(folder: Path) -> Iterator[Editor]:
    with talking(folder) as found:
        yield found
        assert found.errors == []


def opened(editor: Editor, folder: Path, name: str, text: str) -> tuple[str, list[dict[str, Any]]]:
    uri = (folder / name).as_uri()
    editor.open(uri, text)
    return uri, editor.diagnostics(uri)


def place(found: dict[str, Any]) -> tuple[int, int, int, int]:
    start, end = found["range"]["start"], found["range"]["end"]
    return start["line"], start["character"], end["line"], end["character"]


def test_mistakes_are_shown_while_typing_and_vanish(editor: Editor, folder: Path) -> None:
    text = "train for 3 epocs\n# 😀\nprune layers by imprnt until latency < 0.7\n"
    uri, (unit, name) = opened(editor, folder, "typing.rcp", text)
    assert (name["code"], name["severity"], place(name)) == ("RCP0202", 1, (2, 16, 2, 22))
    assert "did you mean `imprint`?" in name["message"] and name["source"] == "recipe"
    assert (unit["code"], place(unit)) == ("RCP0108", (0, 12, 0, 17))
    editor.change(uri, text.replace("imprnt", "imprint").replace("epocs", "epochs"))
    assert [(d["code"], d["severity"]) for d in editor.diagnostics(uri)] == []
    editor.change(uri, "let tune = sgd\nprune 1 layer by imprint\n", 3)
    (unused,) = editor.diagnostics(uri)
    assert (unused["code"], unused["severity"], place(unused)) == ("RCP0250", 2, (0, 4, 0, 8))
    assert unused["tags"] == [1], "shown faded"
    editor.tell("textDocument/didClose", textDocument={"uri": uri})
    assert editor.diagnostics(uri) == []


def test_columns_count_as_was_agreed(editor: Editor, folder: Path) -> None:
    text = 'export pt2 to "😀é" bye x\n'
    assert editor.able["capabilities"]["positionEncoding"] == "utf-16"
    _, (found,) = opened(editor, folder, "wide.rcp", text)
    assert (place(found)[1], place(found)[3]) == (20, 23)
    with talking(folder, ("utf-8",)) as other:
        assert other.able["capabilities"]["positionEncoding"] == "utf-8"
        uri, (found,) = opened(other, folder, "wide.rcp", text)
        assert (place(found)[1], place(found)[3]) == (23, 26)
        assert other.at("hover", uri, 0, 11)["contents"]["value"].startswith("**to** (clause of `export`)")


def test_a_text_is_formatted_whole_and_in_part(editor: Editor, folder: Path) -> None:
    text = "prune   layers by imprint until latency<0.7\nkeep as   a\n"
    uri, _ = opened(editor, folder, "format.rcp", text)
    edits = editor.about("formatting", uri, options=OPTIONS)
    assert [e["newText"] for e in edits] == ["prune layers by imprint until latency < 0.7\n", "keep as a\n"]
    lines = {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 4}}
    assert editor.about("rangeFormatting", uri, options=OPTIONS, range=lines) == edits[1:]
    editor.change(uri, "prune layers by\n")
    editor.diagnostics(uri)
    assert editor.about("formatting", uri, options=OPTIONS) is None, "a text with a mistake stays as it is"


def test_words_have_cards_and_calls_their_settings(editor: Editor, folder: Path) -> None:
    uri, _ = opened(editor, folder, "words.rcp", "train for 3 epochs with sgd(lr=0.1)\n")
    card = editor.at("hover", uri, 0, 25)
    assert card["contents"]["kind"] == "markdown" and card["contents"]["value"].startswith("**sgd** (optimizer")
    assert place(card) == (0, 24, 0, 27)
    assert editor.at("hover", uri, 5, 0) is None
    signature = editor.at("signatureHelp", uri, 0, 31)["signatures"][0]
    assert signature["label"].startswith("sgd(lr=0.01, ") and signature["activeParameter"] == 0


def test_words_are_completed_and_tell_what_they_are(editor: Editor, folder: Path) -> None:
    uri, _ = opened(editor, folder, "complete.rcp", "keep as 😀\nprune layers by im until latency < 0.7\n")
    found = editor.at("completion", uri, 1, 18)["items"]
    imprint = next(item for item in found if item["label"] == "imprint")
    assert place({"range": imprint["textEdit"]["range"]}) == (1, 16, 1, 18)
    assert imprint["textEdit"]["newText"] == "imprint"
    told = editor.ask("completionItem/resolve", **imprint)["documentation"]["value"]
    assert told.startswith("**imprint** (criterion")
    editor.change(uri, "prune layers by")
    assert editor.at("completion", uri, 0, 15) is not None and editor.at("completion", uri, 9, 9)["items"]
    editor.diagnostics(uri)


def test_names_are_followed_and_renamed(editor: Editor, folder: Path) -> None:
    (folder / "kept.rcp").write_text("train for 1 epoch\nkeep as early\n")
    text = 'use "kept.rcp"\nlet tune = sgd\nprune 1 layer by imprint\ndistill from early with kd, $tune\n'
    uri, _ = opened(editor, folder, "names.rcp", text)
    kept = (folder / "kept.rcp").as_uri()
    assert place(editor.at("definition", uri, 3, 29)) == (1, 4, 1, 8)
    there = editor.at("definition", uri, 3, 15)
    assert there["uri"] == kept and place(there) == (1, 8, 1, 13)
    assert editor.at("definition", uri, 0, 6)["uri"] == kept and editor.at("definition", uri, 2, 1) is None
    words = editor.at("references", uri, 1, 5, context={"includeDeclaration": True})
    assert [place(word) for word in words] == [(1, 4, 1, 8), (3, 28, 3, 33)]
    assert len(editor.at("references", uri, 1, 5, context={"includeDeclaration": False})) == 1
    assert [mark["kind"] for mark in editor.at("documentHighlight", uri, 1, 5)] == [3, 2]
    assert editor.at("hover", uri, 3, 29)["contents"]["value"].startswith("**tune** (value, line 2)")
    assert editor.at("prepareRename", uri, 3, 29)["placeholder"] == "tune"
    assert editor.at("prepareRename", uri, 2, 1) is None
    edits = editor.at("rename", uri, 3, 29, newName="slow")["changes"]
    assert [(place(e), e["newText"]) for e in edits[uri]] == [((1, 4, 1, 8), "slow"), ((3, 29, 3, 33), "slow")]
    assert set(editor.at("rename", uri, 3, 15, newName="late")["changes"]) == {uri, kept}
    with pytest.raises(RuntimeError, match="`with` is not a name"):
        editor.at("rename", uri, 3, 29, newName="with")
    editor.change(uri, text.replace("$tune", "$tun"))
    assert editor.at("definition", uri, 3, 29) is None, "asked before the check has begun"
    editor.diagnostics(uri)


def test_mistakes_have_fixes(editor: Editor, folder: Path) -> None:
    uri, (wrong,) = opened(editor, folder, "fix.rcp", "# 😀\nprune layers by imprnt until latency < 0.7\n")
    (fix,) = editor.about("codeAction", uri, range=wrong["range"], context={"diagnostics": [wrong]})
    assert fix["title"] == "Change to `imprint`" and fix["isPreferred"] and fix["kind"] == "quickfix"
    (edit,) = fix["edit"]["changes"][uri]
    assert place({"range": edit["range"]}) == place(wrong) and edit["newText"] == "imprint"
    assert fix["diagnostics"] == [wrong]
    elsewhere = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
    assert editor.about("codeAction", uri, range=elsewhere, context={"diagnostics": []}) == []
    only = {"diagnostics": [], "only": ["refactor"]}
    assert editor.about("codeAction", uri, range=wrong["range"], context=only) is None


def test_a_text_has_a_shape_and_colours(editor: Editor, folder: Path) -> None:
    uri, _ = opened(editor, folder, "shape.rcp", "# a\n# b\nvariant a { # 😀\n  let t = sgd\n  train for 1 epoch wi")
    (variant,) = editor.about("documentSymbol", uri)
    assert variant["name"] == "variant a" and [c["name"] for c in variant["children"]] == [
        "let t = sgd",
        "train for 1 epoch wi",
    ]
    assert [(f["startLine"], f["endLine"]) for f in editor.about("foldingRange", uri)] == [(0, 1), (2, 4)]
    legend = editor.able["capabilities"]["semanticTokensProvider"]["legend"]["tokenTypes"]
    data = editor.about("semanticTokens/full", uri)["data"]
    assert data[:10] == [0, 0, 3, legend.index("comment"), 0, 1, 0, 3, legend.index("comment"), 0]
    assert data[10:20] == [1, 0, 7, legend.index("keyword"), 0, 0, 12, 4, legend.index("comment"), 0]


def test_a_used_file_is_read_as_it_is_in_the_editor(editor: Editor, folder: Path) -> None:
    (folder / "base.rcp").write_text("prune 1 layer by imprint\n")
    uri, found = opened(editor, folder, "user.rcp", '# first line\nuse "base.rcp"\nmeasure top1\n')
    assert found == []
    base, (own,) = opened(editor, folder, "base.rcp", "prune 1 layer by imprnt\n")
    assert own["code"] == "RCP0202"
    (theirs,) = editor.diagnostics(uri)
    assert theirs["message"].startswith("base.rcp:1: there is no criterion `imprnt`") and place(theirs)[:2] == (1, 4)
    assert theirs["relatedInformation"][0]["location"]["uri"] == base
    editor.change(base, "prune 1 layer by imprint\n")
    assert editor.diagnostics(base) == editor.diagnostics(uri) == []
    editor.change(base, "prune 1 layer by imprnt\n", version=3)
    assert len(editor.diagnostics(base)) == len(editor.diagnostics(uri)) == 1
    editor.tell("textDocument/didClose", textDocument={"uri": base})  # not saved: the file counts again
    assert editor.diagnostics(base) == editor.diagnostics(uri) == []


def test_files_that_are_gone_or_no_text(editor: Editor, folder: Path) -> None:
    uri, (gone,) = opened(editor, folder / "no folder", "a.rcp", 'use "missing.rcp"\n')
    assert gone["code"] == "RCP0211" and "cannot be read" in gone["message"]
    (folder / "latin.rcp").write_bytes("# é\nmeasure top1\n".encode("latin-1"))
    _, (wrong,) = opened(editor, folder, "b.rcp", 'use "latin.rcp"\n')
    assert "it is not UTF-8 text" in wrong["message"]
    editor.open("untitled:Untitled-1", 'use "base.rcp"\n')
    assert editor.diagnostics("untitled:Untitled-1")[0]["code"] == "RCP0211"
    assert editor.at("hover", (folder / "never opened.rcp").as_uri(), 0, 0) is None


def test_the_profile_names_models_and_its_mistakes_are_shown(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("aliases: {mynet: digits_resnet}\n")
    uri, found = opened(editor, tmp_path, "own.rcp", "model mynet\ndata digits\ntrain for 1 epoch\n")
    assert found == []
    (tmp_path / "recipe.yaml").write_bytes(b"alias: {mynet: digits_resnet}\n")
    editor.tell("textDocument/didSave", textDocument={"uri": uri})
    assert {d["code"] for d in editor.diagnostics(uri)} == {"RCP1211", "RCP0202"}
    (tmp_path / "recipe.yaml").write_bytes(b"aliases: {\xff}\n")
    profile = (tmp_path / "recipe.yaml").as_uri()
    editor.tell("workspace/didChangeWatchedFiles", changes=[{"uri": profile, "type": 2}])
    assert {d["code"] for d in editor.diagnostics(uri)} == {"RCP1201", "RCP0202"}


def test_a_bug_is_told_and_other_questions_are_answered(folder: Path) -> None:
    broken = (
        "import recipelang.editor.analysis as a\n"
        "def check(*args, **options):\n"
        "    raise ZeroDivisionError('oh')\n"
        "a.check = check\n"
        "from recipelang.cli import main; main(['lsp'])\n"
    )
    with talking(folder, code=broken) as editor:
        uri, (told,) = opened(editor, folder, "bug.rcp", "measure top1\n")
        assert "this is a bug in recipelang" in told["message"] and "ZeroDivisionError: oh" in told["message"]
        assert editor.at("hover", uri, 0, 1)["contents"]["value"].startswith("**measure** (verb)")
        assert any("bug" in error for error in editor.errors) and editor.leave() == 0


def test_what_a_plug_in_prints_does_not_get_into_the_conversation(folder: Path) -> None:
    noisy = (
        "import sys, recipelang.editor.analysis as a\n"
        "check = a.check\n"
        "def loud(*args, **options):\n"
        "    print('hello'); sys.stdout.flush(); return check(*args, **options)\n"
        "a.check = loud\n"
        "from recipelang.cli import main; main(['lsp'])\n"
    )
    with talking(folder, code=noisy) as editor:
        assert opened(editor, folder, "loud.rcp", "measure top1\n")[1] == []
        assert editor.leave() == 0


def test_the_server_never_loads_torch_and_ends_with_its_editor(folder: Path) -> None:
    code = (
        "import atexit, sys, pathlib\n"
        "atexit.register(lambda: pathlib.Path('loaded').write_text(' '.join(sys.modules)))\n"
        "from recipelang.cli import main; main(['lsp'])\n"
    )
    with talking(folder, code=code) as editor:
        uri, _ = opened(editor, folder, "t.rcp", "prune layers by imprint until latency < 0.7\nsparsify nm 2:4\n")
        editor.at("hover", uri, 0, 18)
        assert editor.process.stdin is not None
        editor.process.stdin.close()  # the editor dies: nothing more is said
        assert editor.process.wait(PATIENCE) == 0
    loaded = set((folder / "loaded").read_text().split())
    assert "pygls" in loaded and not loaded & {"torch", "numpy", "matplotlib", "lark"}


def test_an_editor_that_died_is_noticed_by_its_process(folder: Path) -> None:
    """Another process may hold the pipe of a dead editor open."""
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    code = (
        "import recipelang.editor.server as s\n"
        "s.texts.WATCH = 0.05\n"
        f"type(s.SERVER).process_id = property(lambda self: {dead.pid}, lambda self, value: None)\n"
        "s.serve()\n"
    )
    with talking(folder, code=code) as editor:
        assert editor.process.wait(PATIENCE) == 1


def test_without_pygls_the_message_says_what_to_install(folder: Path) -> None:
    code = "import sys; sys.modules['pygls'] = None; from recipelang.cli import main; main(['lsp'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert run.returncode == 2 and run.stdout == ""
    assert "RCP1027" in run.stderr and 'pip install "recipelang[lsp]"' in run.stderr
