"""Several functions that ask for passes over the data, so run that one pass answers all that ask at the same time.

    a: ─── asks ┐          ┌──── asks ┐        ┌─── done
    b: ─── asks ┼─ a pass ─┼──── done │ a pass ┘
    c: ─── asks ┘          └───────── ┘

Each function runs in a thread of its own, and only one of them at any time: the next one starts or continues when it
asks or ends. So nothing has to be declared beforehand, and functions need no locks for what they share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_CURRENT: ContextVar[_Talk[Any, Any] | None] = ContextVar("talk", default=None)


class _Stopped(BaseException):
    """Another function failed; no `except Exception` may catch this."""


class _Talk(Generic[T, R]):
    """A function in its thread, and what it waits for."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.request: R | None = None
        self.result: T | None = None
        self.error: BaseException | None = None
        self.done = self.stopped = self._resting = False
        self._function = function
        self._goes_on, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        _CURRENT.set(self)
        try:
            self.result = self._function()
        except _Stopped:
            pass
        except BaseException as error:  # raised again where the functions were called
            self.error = error
        self.done = True
        self._rests.release()

    def ask(self, request: R) -> None:
        """Wait until the request is served."""
        if not self.stopped:
            self.request, self._resting = request, True
            self._rests.release()
            self._goes_on.acquire()
            self._resting = False
        if self.stopped:
            raise _Stopped

    def go_on(self) -> None:
        """Run until it asks or ends."""
        self.request = None
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._goes_on.release()
        self._rests.acquire()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End it where it waits; one that works, as Ctrl-C may find it, ends when it asks for something, or with the
        process."""
        self.stopped = True
        if self._resting:
            self._goes_on.release()
            self._thread.join()


def together(functions: Sequence[Callable[[], T]], serve: Callable[[list[Any]], None]) -> list[T]:
    """What the functions return; whenever all that have not ended wait, their requests are served at once.

    Args:
        functions: may call `asked`; an error of one ends all.
        serve: is called in the thread of the caller.
    """
    talks: list[_Talk[T, Any]] = [_Talk(function) for function in functions]
    try:
        for talk in talks:
            talk.go_on()
        while waiting := [talk for talk in talks if not talk.done]:
            serve([talk.request for talk in waiting])
            for talk in waiting:
                talk.go_on()
    finally:
        for talk in talks:
            talk.stop()
    return [talk.result for talk in talks]  # type: ignore[misc]


def asked(request: Any) -> bool:
    """Wait until a request is served, inside a function of `together`; False elsewhere, where nothing waits."""
    talk = _CURRENT.get()
    if talk is None:
        return False
    talk.ask(request)
    return True
