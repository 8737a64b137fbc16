"""The profile: read safely, checked like a recipe, every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.errors import RecipeError, render
from recipelang.profile import Profile, locate, parse_profile

HERE = Path("/project/recipe.yaml")


def mistakes(text: str) -> list[tuple[str, int, int]]:
    """(code, line, column) of every mistake in a profile."""
    with pytest.raises(RecipeError) as caught:
        parse_profile(text, HERE)
    return [(d.code, d.span.line, d.span.column) for d in caught.value.diagnostics if d.span]


def test_every_key_is_read() -> None:
    profile = parse_profile(
        "data: {cifar10: /data/cifar10, photos: pics}\nweights:\n  net.st: ../net.st\n"
        "aliases: {mynet: 'python(\"nets.py:build\")'}\ndevice: cuda:1\nthreads: 4\nstore: cache\nlauncher: local\n"
        "links: follow\n",
        HERE,
    )
    assert profile.paths == {
        "cifar10": Path("/data/cifar10"),
        "photos": Path("/project/pics"),
        "net.st": Path("/project/../net.st"),
    }
    assert profile.data == ("cifar10", "photos")
    assert profile.aliases == {"mynet": 'python("nets.py:build")'}
    assert (profile.device, profile.threads, profile.store) == ("cuda:1", 4, Path("/project/cache"))
    assert profile.links == "follow" and parse_profile("", HERE).links == "refuse"


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_profile_is_the_default(text: str) -> None:
    assert parse_profile(text, HERE) == Profile(path=HERE)


def test_names_come_before_paths(tmp_path: Path) -> None:
    profile = Profile(paths={"cifar10": Path("/data/cifar10")})
    assert profile.resolve("cifar10", tmp_path) == Path("/data/cifar10")
    assert profile.resolve("photos/dogs", tmp_path) == tmp_path / "photos/dogs"
    assert profile.resolve("/abs/file", tmp_path) == Path("/abs/file")
    assert profile.resolve("~/file", tmp_path) == Path.home() / "file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device: gpu\n", [("RCP1212", 1, 9)]),
        ("threads: many\n", [("RCP1212", 1, 10)]),
        ("threads: 0\n", [("RCP1212", 1, 10)]),
        ("threads: 1.5\n", [("RCP1212", 1, 10)]),
        ("threads: true\n", [("RCP1212", 1, 10)]),
        ("launcher: slurm\n", [("RCP1212", 1, 11)]),
        ("links: perhaps\n", [("RCP1212", 1, 8)]),
        ("store: 5\n", [("RCP1212", 1, 8)]),
        ("store: ''\n", [("RCP1212", 1, 8)]),
        ("data: /data\n", [("RCP1212", 1, 7)]),
        ("data: {cifar10: 5}\n", [("RCP1212", 1, 17)]),
        ("data: {cifar10: [a]}\n", [("RCP1212", 1, 17)]),
        ("aliases: {my-net: resnet56}\n", [("RCP1212", 1, 19)]),
        ("- a\n- b\n", [("RCP1212", 1, 1)]),
        ("devise: cpu\nthreds: 2\n", [("RCP1211", 1, 1), ("RCP1211", 2, 1)]),
        ("5: cpu\n", [("RCP1212", 1, 1)]),
        ("device: cpu\ndevice: cuda\n", [("RCP1213", 2, 1)]),
        ("data: {a: /x, a: /y}\n", [("RCP1213", 1, 15)]),
        ("device: cpu\n\tthreads: 2\n", [("RCP1210", 2, 1)]),
        ("data: {a: b\n", [("RCP1210", 2, 1)]),
        ("device: !!python/object/apply:os.system ['true']\n", [("RCP1212", 1, 9)]),
    ],
)
def test_mistakes_have_a_line(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert mistakes(text) == expected


def test_a_misspelt_key_is_shown_with_a_caret_and_the_right_one() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_profile("device: cpu\nthreds: 2\n", HERE)
    assert caught.value.exit_code == 1
    shown = render(caught.value.diagnostics[0], caught.value.text)
    assert "/project/recipe.yaml:2:1" in shown
    assert "^^^^^^" in shown
    assert "did you mean `threads`?" in shown


def test_deep_nesting_is_refused_and_not_followed() -> None:
    assert mistakes("data: " + "[" * 50 + "]" * 50 + "\n") == [("RCP1212", 1, 7)]
    with pytest.raises(RecipeError):
        parse_profile("[" * 100_000, HERE)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        profile = parse_profile(text, HERE)
    except RecipeError as error:
        assert all(d.code.startswith("RCP121") for d in error.diagnostics)
    else:
        assert profile.path == HERE


def test_the_nearest_profile_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert locate(inner) is None
    (tmp_path / "recipe.yaml").write_text("device: cpu\n")
    assert locate(inner) == tmp_path / "recipe.yaml"
    (inner / "recipe.yaml").write_text("device: cpu\n")
    assert locate(inner) == inner / "recipe.yaml"


def test_the_search_stops_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    (tmp_path / "recipe.yaml").write_text("device: cpu\n")
    monkeypatch.setenv("HOME", str(home))
    assert locate(home / "work") is None
