"""check, fmt, list, explain: what a user and a script see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipelang import vocabulary
from recipelang.catalogue import FOLDERS
from recipelang.cli import main
from recipelang.syntax.grammar import RESERVED
from recipelang.units import SINGULAR, UNITS
from recipelang.vocabulary import STATES

ONELINER = "prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered"
MISSPELT = "prune layers by imprnt until latency < 0.7\nsparsify nm 2:4 by magnitud\n"


def recipe(*arguments: str) -> int:
    """Run the command line here; its exit code."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def process(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own, as a shell would."""
    return subprocess.run(
        [sys.executable, "-m", "recipelang.cli", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


# check ------------------------------------------------------------------------------------------------


def test_a_right_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("check", "-e", ONELINER) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("<command line>: ok, ")
    assert captured.err == ""


def test_every_mistake_under_its_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.rcp"
    file.write_text(MISSPELT)
    assert recipe("check", str(file)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{file}:1:17" in captured.err
    assert f"{file}:2:20" in captured.err
    assert "`imprint`" in captured.err
    assert "`magnitude`" in captured.err
    assert "\x1b" not in captured.err


def test_the_mistakes_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong = tmp_path / "right.rcp", tmp_path / "wrong.rcp"
    right.write_text(ONELINER)
    wrong.write_text(MISSPELT)
    assert recipe("check", "--json", str(right), str(wrong)) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.err == ""
    assert report["format"] == "recipelang.check/1"
    assert [file["ok"] for file in report["files"]] == [True, False]
    assert report["files"][0]["steps"] > 3
    first = report["files"][1]["diagnostics"][0]
    assert first["severity"] == "error"
    assert (first["span"]["line"], first["span"]["column"]) == (1, 17)


def test_standard_input() -> None:
    right = process("check", "-", stdin=ONELINER.encode())
    assert (right.returncode, right.stderr) == (0, b"")
    wrong = process("check", "-", stdin=MISSPELT.encode())
    assert wrong.returncode == 1
    assert b"<stdin>:1:17" in wrong.stderr


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"prune \xff\xfe", 1, "not UTF-8 text: byte 6 in line 1"),
        (b"", 1, "RCP"),
        (b"# only a comment\n", 1, "RCP"),
    ],
)
def test_files_that_are_no_recipe(
    content: bytes, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.rcp"
    file.write_bytes(content)
    assert recipe("check", str(file)) == code
    assert said in capsys.readouterr().err


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("check", str(tmp_path / "missing.rcp")) == 2
    assert "no such file" in capsys.readouterr().err
    assert recipe("check", str(tmp_path)) == 2
    assert "it is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["fmt", "--check"]])
def test_a_file_that_cannot_be_read_leaves_no_other_out(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin.rcp").write_bytes(b"# \xe9\n")
    (tmp_path / "wrong.rcp").write_text("measure [\n")
    names = [str(tmp_path / name) for name in ("latin.rcp", "wrong.rcp")]
    assert recipe(*command, *names) == 1
    assert recipe(*command, str(tmp_path / "missing.rcp"), *names) == 2
    told = capsys.readouterr().err
    assert told.count("RCP1202") == told.count("wrong.rcp:1:") == 2 and told.count("RCP1201") == 1


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "windows.rcp"
    file.write_bytes(b"\xef\xbb\xbf" + ONELINER.replace("; ", "\r\n").encode())
    assert recipe("check", str(file)) == 0


@pytest.mark.parametrize("arguments", [["check"], ["check", "a.rcp", "-e", "x"], ["run"], ["fmt"], ["chek"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert recipe(*arguments) == 2


def test_an_alias_of_the_profile_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "aliased.rcp"
    file.write_text("model mine\ndata digits\nprune 1 layers by random\n")
    assert recipe("check", str(file)) == 1
    (tmp_path / "recipe.yaml").write_text("aliases: {mine: digits_resnet}\n")
    assert recipe("check", str(file)) == 0
    capsys.readouterr()
    (tmp_path / "recipe.yaml").write_text("alias: {mine: digits_resnet}\n")
    assert recipe("check", str(file)) == 1
    assert "recipe.yaml:1:1" in (said := capsys.readouterr().err)
    assert "^^^^^" in said


# fmt --------------------------------------------------------------------------------------------------

UGLY = "prune   layers by imprint until latency<0.7 # shorter\nsparsify nm 2:4\n"
FINE = "prune layers by imprint until latency < 0.7 # shorter\nsparsify nm 2:4\n"


def test_fmt_writes_in_place_and_is_done_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ugly.rcp"
    file.write_text(UGLY)
    file.chmod(0o640)
    assert recipe("fmt", "--check", str(file)) == 1
    assert file.read_text() == UGLY
    assert recipe("fmt", str(file)) == 0
    assert file.read_text().split() == FINE.split()
    assert file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["ugly.rcp"]
    capsys.readouterr()
    assert recipe("fmt", "--check", str(file)) == 0
    assert capsys.readouterr().err == ""


def test_fmt_diff_shows_and_does_not_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ugly.rcp"
    file.write_text(UGLY)
    assert recipe("fmt", "--diff", str(file)) == 0
    shown = capsys.readouterr().out
    assert "\n-prune   layers" in shown
    assert "\n+prune layers by imprint until latency < 0.7" in shown
    assert file.read_text() == UGLY


def test_fmt_keeps_line_ends_and_links(tmp_path: Path) -> None:
    file, link = tmp_path / "real.rcp", tmp_path / "link.rcp"
    file.write_bytes(UGLY.replace("\n", "\r\n").encode())
    link.symlink_to(file)
    assert recipe("fmt", str(link)) == 0
    assert link.is_symlink()
    assert file.read_bytes().count(b"\r\n") == file.read_bytes().count(b"\n") == 2


def test_fmt_filters_standard_input() -> None:
    formatted = process("fmt", "-", stdin=UGLY.encode())
    assert (formatted.returncode, formatted.stderr) == (0, b"")
    assert formatted.stdout.split() == FINE.encode().split()


def test_fmt_leaves_a_wrong_file_and_does_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, ugly = tmp_path / "wrong.rcp", tmp_path / "ugly.rcp"
    wrong.write_text("prune layers by (\n")
    ugly.write_text(UGLY)
    assert recipe("fmt", str(wrong), str(ugly)) == 1
    assert f"{wrong}:1" in capsys.readouterr().err
    assert wrong.read_text() == "prune layers by (\n"
    assert ugly.read_text() != UGLY


# list, explain ----------------------------------------------------------------------------------------


def test_list_shows_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("list") == 0
    shown = capsys.readouterr().out
    for word in ("verbs\n", "criteria\n", "\n  prune ", "\n  imprint ", "\n  torchvision "):
        assert word in shown


@pytest.mark.parametrize("kind", ["criterion", "criteria"])
def test_list_of_one_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("list", kind) == 0
    shown = capsys.readouterr().out
    assert "imprint" in shown
    assert "torchvision" not in shown


def test_list_of_an_unknown_kind_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("list", "criterium") == 2
    assert "Did you mean `criterion`?" in capsys.readouterr().err


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("list", "--json") == 0
    assert "imprint" in json.dumps(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(("word", "says"), [("prune", "until"), ("imprint", "cosine"), ("RCP1206", "disk is full")])
def test_explain(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("explain", word) == 0
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "says"),
    [
        *(("until", "prune "), ("in", "sweep "), ("as", "keep "), ("let", "--set"), ("and", "must all hold")),
        *(("ms", "1 ms is 0.001 s"), ("%", "1 % is 0.01"), ("KB", "1 KB is 1,000 B"), ("epoch", "`1 epoch`")),
        *(("healthy", "(state)"), ("val", "(split)"), ("drop", "allows 90 %"), ("rise", "lower is better")),
        *(("ratio", "70 %"), ("metric", "`latency`"), ("rcp0604", "# RCP0604"), ("top1 drop", "form of a metric")),
    ],
)
def test_every_sort_of_word_is_explained(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("explain", *word.split()) == 0
    shown = capsys.readouterr().out
    assert says in shown
    assert recipe("explain", *word.split(), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "recipelang.explain/1" and told["word"] == word
    assert "\n\n".join(card["text"] for card in told["cards"]).rstrip() == shown.rstrip()


def test_every_word_of_the_grammar_and_every_unit_is_explained() -> None:
    words = {*RESERVED, *filter(None, UNITS), *SINGULAR, *STATES, *FOLDERS, "drop", "rise"}
    assert words <= vocabulary.known()
    assert all(vocabulary.explain(word) for word in vocabulary.known())


@pytest.mark.parametrize(
    ("word", "close"),
    [("untill", "until"), ("epohs", "epochs"), ("ratoi", "ratio"), ("helthy", "healthy"), ("RCP604", "RCP0604")],
)
def test_a_word_that_is_nearly_one_is_offered(word: str, close: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("explain", word) == 2
    assert f"did you mean `{close}`?" in capsys.readouterr().err


def test_what_is_explained_and_listed_as_json_has_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("explain", "train", "--json") == 0
    verb, split = json.loads(capsys.readouterr().out)["cards"]
    assert (verb["sort"], verb["name"], split["sort"]) == ("verb", "train", "split")
    assert [clause["word"] for clause in verb["clauses"]] == ["for", "with", "from", "on"]
    assert recipe("list", "criteria", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"format", "methods"} and set(told["methods"]) == {"criterion"}
    assert recipe("list", "verb", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"format", "verbs"}


def test_an_option_of_the_command_line_is_shown_with_its_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rcp").write_text("let e = 2\ntrain for 1 epoch with sgd(lr=$e)\n")
    assert recipe("plan", "a.rcp", "--set", "e=3 epochs", "--data", "digts") == 1
    shown = capsys.readouterr().err
    assert "1 | --set e=3 epochs\n" in shown and "1 | --data digts\n" in shown and "-->" in shown


def test_layers_of_a_file_says_what_may_stand_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"")
    assert recipe("layers", str(file)) == 2
    shown = capsys.readouterr().err
    assert "weights=" in shown and "--model" not in shown
    assert recipe("layers", "resnet21") == 1
    shown = capsys.readouterr().err
    assert "1 | model resnet21\n" in shown and "--model" not in shown


def test_explain_of_an_unknown_word_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("explain", "imprnt") == 2
    assert "did you mean `imprint`?" in capsys.readouterr().err


# torch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["check", "-e", ONELINER],
        ["check", "-e", MISSPELT],
        ["fmt", "--diff", "quickstart.rcp"],
        ["list"],
        ["list", "--json"],
        ["explain", "prune"],
        ["explain", "imprint"],
        ["explain", "RCP1206"],
        ["explain", "until", "--json"],
        ["init", "new"],
        ["gc"],
    ],
    ids=" ".join,
)
def test_words_never_need_torch(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "quickstart.rcp").write_text(UGLY)
    script = (
        "import sys\nfrom recipelang.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as left: assert left.code in (0, 1), left.code\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'matplotlib', 'sklearn', 'scipy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
