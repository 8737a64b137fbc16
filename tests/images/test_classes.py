"""Labels are matched by class name: which output is which class of a data set."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models import ResNet18_Weights

from recipelang.images.classes import Match, is_numbered, listed, match, unknown_to
from recipelang.images.imagenet import FOLDERS
from recipelang.surgery.published import class_names

OWN = ("one", "three", "two", "zero")
IMAGENET = class_names(ResNet18_Weights.DEFAULT)


@pytest.mark.parametrize(
    ("own", "names", "outputs", "how"),
    [
        (OWN, OWN, (0, 1, 2, 3), "name"),
        (OWN, ("one", "two", "zero"), (0, 2, 3), "name"),
        (OWN, ("zero", "one"), (3, 0), "name"),
        (("Great White", "cat"), ("CAT", "great_white"), (1, 0), "name"),
        (("tench, Tinca tinca", "crane", "crane, bird"), ("Tinca_tinca", "crane", "bird"), (0, 1, 2), "name"),
        (("tench", "toilet tissue"), ("toilet tissue, toilet paper", "tench, Tinca tinca"), (1, 0), "name"),
        (("Cat", "cat"), ("cat",), (1,), "name"),  # exactly, where loosely would confuse two
        (("0", "1", "2"), ("a", "b", "c"), (0, 1, 2), "order"),
        (("a", "b", "c"), ("0", "1", "2"), (0, 1, 2), "number"),
        (tuple("abcdefghijk"), tuple(sorted(str(k) for k in range(11))), (0, 1, 10, *range(2, 10)), "number"),
        (tuple(str(k) for k in range(10)), ("3", "7"), (3, 7), "name"),
        (tuple("abcdefghij"), tuple(f"{k:02}" for k in range(10)), tuple(range(10)), "number"),
    ],
)
def test_where_classes_stand(own: tuple[str, ...], names: tuple[str, ...], outputs: tuple[int, ...], how: str) -> None:
    assert match(own, names) == Match(outputs, how)


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (OWN, ("a_three", "b_two", "c_one", "d_zero")),
        (OWN, ("one", "four")),
        (("Cat", "cat"), ("CAT",)),  # which of the two?
        (("cat", "dog"), ("Cat", "cat")),  # both would be one
        (("a", "b", "c"), ("0", "1")),
        (("a", "b", "c"), ("1", "2", "3")),  # counted from one: not these outputs
        (("0", "1", "2"), ("a", "b")),
    ],
)
def test_what_is_not_guessed(own: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert match(own, names) is None


def test_unicode_forms_of_a_name_are_one_name() -> None:
    own = tuple(unicodedata.normalize("NFD", n) for n in ("Käfer", "Löwe"))
    assert match(own, tuple(unicodedata.normalize("NFC", n) for n in ("Löwe", "Käfer"))) == Match((1, 0), "name")


@given(st.permutations([f"class {k}" for k in range(12)]), st.integers(1, 12))
def test_every_class_finds_the_output_of_its_name(own: list[str], count: int) -> None:
    names = sorted(own)[:count]
    found = match(own, names)
    assert found is not None and [own[k] for k in found.outputs] == names


def test_imagenets_folders_and_names() -> None:
    assert match(IMAGENET, FOLDERS) == Match(tuple(range(1000)), "imagenet")
    assert list(FOLDERS) == sorted(FOLDERS) and len(set(FOLDERS)) == 1000
    # Imagenette's ten (Howard 2019), with the names that it gives them
    ten = {
        "n03445777": "golf ball", "n01440764": "tench", "n02102040": "English springer", "n03888257": "parachute",
        "n02979186": "cassette player", "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
        "n03417042": "garbage truck", "n03425413": "gas pump",
    }  # fmt: skip
    found = match(IMAGENET, tuple(ten))
    assert found is not None and found.how == "imagenet"
    names = [IMAGENET[k].replace("chainsaw", "chain saw") for k in found.outputs]
    assert names == list(ten.values())
    assert match(IMAGENET, ("n01440764", "n00000001")) is None and match(OWN, ("n01440764",)) is None
    assert match(IMAGENET, ("great_white_shark", "tench")) == Match((2, 0), "name")


def test_numbers_that_say_nothing_but_positions() -> None:
    assert is_numbered(("0", "2", "1")) and is_numbered(("00", "01"))
    assert not any(map(is_numbered, (("1", "2"), ("0", "0"), ("0", "x"), ("0", "²"), ("0", "-1"))))


def test_names_in_messages_are_few_short_and_printable() -> None:
    assert unknown_to(OWN, ("one", "x")) == "the class `x`"
    assert unknown_to(OWN, tuple("abcde")) == "the classes `a`, `b`, `c` and 2 more"
    assert listed(tuple("abcdefg")) == "`a`, `b`, `c`, `d`, `e` and 2 more"
    assert listed(("a\udcffb\n", "x" * 500)) == f"`a\\udcffb\\n`, `{'x' * 59}…`"


def test_numbers_are_names_where_both_sides_have_them() -> None:
    padded, plain = tuple(f"{i:02d}" for i in range(11)), tuple(sorted(str(i) for i in range(11)))
    for own, names in ((padded, plain), (plain, padded), (padded, ("10", "2"))):
        found = match(own, names)
        assert found is not None and found.how == "name"
        assert [int(own[k]) for k in found.outputs] == [int(name) for name in names]
    assert match(("0", "1", "2"), ("1", "2", "3")) is None  # 1 is known, and is not 0
    assert match(("1", "2", "3"), ("0", "1", "2")) is None
    assert match(("0", "1", "2"), ("2", "cat", "dog")) is None
    assert match(plain, tuple("abcdefghijk")) is None  # the third output is 10: by order or by number?
    assert match(("0", "1", "2"), ("a", "b", "c")) == Match((0, 1, 2), "order")
    assert match(("7", "007"), ("07",)) is None


def test_imagenet_with_several_words_for_each_class() -> None:
    """As Hugging Face's networks and data sets call the classes."""
    words = tuple(f"{name}, another word" if k % 3 else name for k, name in enumerate(IMAGENET))
    for own, names in ((words, IMAGENET), (IMAGENET, words), (words, FOLDERS)):
        found = match(own, names)
        assert found is not None and found.outputs == tuple(range(1000))
    assert match(words, ("goldfish", "tench")) == Match((1, 0), "name")
    assert match(words, FOLDERS[5:7]) == Match((5, 6), "imagenet")
    assert match(words, ("tench", "no such fish")) is None
    assert unknown_to(words, ("tench", "no such fish")) == "the class `no such fish`"
    assert match(("a, b", "b, c"), ("b",)) is None  # a word of two classes
