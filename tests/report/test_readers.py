"""What is read at once is what is read with care, value by value, whatever a file holds."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.errors import Refusal
from recipelang.report import decode
from recipelang.report.readers import LONGEST
from recipelang.report.record import Report

FIXTURES = Path(__file__).parent / "fixtures"
RECORDS = [json.loads(file.read_text("utf-8")) for file in sorted(FIXTURES.glob("*.json"))]
#: what a stranger's file may hold in any place
ODD = st.sampled_from(
    [
        None, True, 0, 0.0, -0.0, 1, -3, 2**53, 2**60, 10**400, 1e-200, 1e99, 1e200, float("nan"), float("inf"),
        "", "a\x1b[31m", "\u202eabc", "x" * 3000, [], [1], [None], {}, {"a": 1}, {"value": 1.0}, {"\x00" * 300: None},
        [{"what": "x"}], [[[]]],
    ]
)  # fmt: skip


def with_care(value: Any) -> Any:
    """As `decode` reads where something does not fit at once."""
    try:
        return decode._decode(Report, value, "", LONGEST)
    except decode._Misfit:
        return "misfit"


def at_once(value: Any) -> Any:
    try:
        return decode.decode(Report, value)
    except Refusal:
        return "misfit"


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in places(one, (*at, key)))]


PLACES = [places(record) for record in RECORDS]


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_records_are_read_alike(number: int) -> None:
    assert repr(at_once(RECORDS[number])) == repr(with_care(RECORDS[number])) != "'misfit'"


@given(data=st.data(), odd=ODD)
@settings(max_examples=60)
def test_a_record_with_something_odd_is_read_alike(data: st.DataObject, odd: Any) -> None:
    number = data.draw(st.integers(0, len(RECORDS) - 1))
    record = changed(RECORDS[number], data.draw(st.sampled_from(PLACES[number][1:])), odd)
    assert repr(at_once(record)) == repr(with_care(record))


def changed(record: Any, place: tuple[Any, ...], odd: Any) -> Any:
    """A copy with another value at a place."""
    if not place:
        return copy.deepcopy(odd)
    made = copy.copy(record)
    made[place[0]] = changed(record[place[0]], place[1:], odd)
    return made


def test_no_value_that_fits_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The growth of a comparison: of a record as a run writes it, few values need care."""
    calls = []
    careful = decode._decode
    monkeypatch.setattr(decode, "_decode", lambda *asked: calls.append(asked[0]) or careful(*asked))
    record = RECORDS[0]
    decode.reader.cache_clear()
    decode.decode(Report, record)
    assert len(calls) < len(places(record)) / 8
