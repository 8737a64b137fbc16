"""Several criteria in one pass: what they ask for is served together, and an error of one ends all."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from recipelang.scoring.together import asked, together


def test_what_waits_at_the_same_time_is_served_at_once_and_one_runs_at_a_time() -> None:
    served: list[list[Any]] = []
    said: list[str] = []

    def asks(*requests: str) -> Any:
        def function() -> str:
            for request in requests:
                said.append(f"before {request}")
                assert asked(request)
                said.append(f"after {request}")
            return "".join(requests)

        return function

    found = together([asks("a", "b"), asks(), asks("c")], served.append)
    assert found == ["ab", "", "c"] and served == [["a", "c"], ["b"]]
    assert said == ["before a", "before c", "after a", "before b", "after c", "after b"]


def test_outside_nothing_waits() -> None:
    assert not asked("a pass")
    assert together([], lambda _: None) == []


@pytest.mark.parametrize("where", ["function", "pass"])
def test_an_error_ends_all_and_no_thread_stays(where: str) -> None:
    ended: list[str] = []

    def waits() -> None:
        try:
            asked("for long")
            ended.append("went on")
        finally:
            ended.append("ended")

    def fails() -> None:
        if where == "function":
            raise ZeroDivisionError
        asked("for another")

    def serve(_: list[Any]) -> None:
        raise ZeroDivisionError

    others = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        together([waits, fails], serve)
    assert ended == ["ended"] and set(threading.enumerate()) <= others


def test_ctrl_c_does_not_wait_for_a_function_that_works() -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def works() -> None:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
        goes_on.wait()
        try:
            asked("more")
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        together([works], lambda _: None)
    assert not ended.is_set()
    goes_on.set()
    assert ended.wait(60), "it ends when it asks"


def test_one_inside_another() -> None:
    served: list[list[Any]] = []

    def inner() -> Any:
        return together([lambda: asked("x"), lambda: asked("y")], lambda requests: None if asked(requests) else None)

    together([inner, lambda: asked("z")], served.append)
    assert served == [[["x", "y"], "z"]]
