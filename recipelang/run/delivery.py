"""One tracker in a thread of its own: it may be slow, fail or hang, and the run goes on.

What is told waits in a queue of bounded length. Points of curves are collected for some seconds, so that a tracker is
called seldom; where the queue is full they are left out. A tracker that raises an exception, or does not return from a
call, is told nothing more, and says why once (`trouble`). At the end it is asked once more to end its run.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from recipelang.kinds import FAILED, FINISHED, Scalar, Session, TrackedRun, Tracker
from recipelang.run.memory import Memory
from recipelang.units import counted

#: seconds for which points are collected, and how many at most
COLLECT_S, MOST_POINTS = 2.0, 1000
#: pieces of work that wait at most
LONGEST_QUEUE = 100
#: seconds that beginning may take (a new database is created then), one call, and all that is left at the end of a run
BEGIN_S, CALL_S, END_S = 300.0, 60.0, 60.0
#: seconds that one which was given up has to end its run
CLOSE_S = 10.0
LONGEST_REASON = 300

Call = Callable[[Session], None]


class Delivery:
    """What is told to one tracker.

    Args:
        name: of the tracker, for messages. key: of it with its settings, for the memory.
        tracker: its library is imported here; it begins the run in the thread.
        run: what it is told at the beginning.
        memory: what it was told before the run was interrupted, and where that is kept.
        begin_s, call_s, end_s: seconds that it may take, as `BEGIN_S`, `CALL_S` and `END_S`.

    Attributes:
        trouble: why it is told nothing more; "" while it is.
        where: where the user finds the run; "" before it has begun.
        networks: those that have points.
    """

    def __init__(
        self,
        name: str,
        key: str,
        tracker: Tracker,
        run: TrackedRun,
        memory: Memory,
        *,
        begin_s: float = BEGIN_S,
        call_s: float = CALL_S,
        end_s: float = END_S,
    ) -> None:
        self.name, self.tracker, self._key, self._memory = name, tracker, key, memory
        self.trouble, self.where, self.left_out = "", "", 0
        self._begin_s, self._call_s, self._end_s = begin_s, call_s, end_s
        self._sent: dict[tuple[str, str], int] = memory.marks(key)
        self._waiting: list[tuple[str, Scalar]] = []
        self._collected = time.monotonic()
        self._since: float | None = time.monotonic()  # when the call under way began
        self._queue: queue.Queue[Call | None] = queue.Queue(LONGEST_QUEUE)
        self._began = threading.Event()
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._work, args=(run,), name=f"tracker {name}", daemon=True)
        try:
            tracker.load()
        except Exception as error:  # an installation that is broken, in any way
            self._give_up(_reason(error))
        else:
            self._thread.start()

    # the side of the run ------------------------------------------------------------------------

    def settle(self, seconds: float) -> None:
        """Wait a while until the tracker has begun: most libraries import more of themselves there, and an import
        changes `sys.modules`, which others may be walking."""
        if not self.trouble:
            self._began.wait(min(seconds, self._begin_s))

    def points(self, network: str, found: Iterable[Scalar]) -> None:
        """Add points to curves of a network; those that it already has are left out."""
        for point in found:
            if point.step > self._sent.get((network, point.name), -1):
                self._sent[network, point.name] = point.step
                self._waiting.append((network, point))
        if len(self._waiting) >= MOST_POINTS or time.monotonic() - self._collected >= COLLECT_S:
            self._hand_over()

    def call(self, call: Call) -> None:
        """Have the session called, after all points so far. Waits a while where the queue is full."""
        self._hand_over(self._end_s)
        self._put(call, self._end_s)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until everything is told; a tracker that needs longer is told nothing more."""
        limit = self._end_s if seconds is None else seconds
        self._hand_over(limit)
        with self._queue.all_tasks_done:
            done = self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks or self.trouble, limit)
        if not done:
            self._give_up(f"it did not finish within {limit:g} s")

    def end(self) -> None:
        """Let the thread end, without waiting for it."""
        self._put(None, 0.0)

    def close(self, status: str, seconds: float = CLOSE_S) -> str:
        """Have a tracker that was given up end its run, which lacks what was not told; it may be back by now.

        Args:
            status: how the run ended. For the tracker, one that `FINISHED` has failed.
            seconds: that this may take.

        Returns:
            What became of the run there, in words; "" where the tracker was not given up, or never began.
        """
        session, ended = self._session, list[bool]()
        if not self.trouble or session is None:
            return ""

        def finish() -> None:
            self._thread.join(seconds)  # a session is called from one thread at a time
            if not self._thread.is_alive():
                with suppress(BaseException):  # as in `_work`
                    session.finish(FAILED if status == FINISHED else status)
                    ended.append(True)

        last = threading.Thread(target=finish, name=f"tracker {self.name}, last call", daemon=True)
        last.start()
        last.join(seconds)
        if ended:
            return "its run there is marked as ended, and lacks what was not told"
        left = getattr(session, "unended", "")  # packages from before there was such a thing have none
        return f"its run there was not ended{f': {left}' if left else ''}"

    def look(self) -> None:
        """Give up a call that takes too long."""
        since, limit = self._since, self._call_s if self._began.is_set() else self._begin_s
        if since is not None and time.monotonic() - since > limit:
            self._give_up(f"it did not answer for {limit:g} s")

    def _hand_over(self, patience: float = 0.0) -> None:
        """Put the points that were collected into the queue."""
        self._collected = time.monotonic()
        if not self._waiting:
            return
        by_network: dict[str, list[Scalar]] = {}
        for network, point in self._waiting:
            by_network.setdefault(network, []).append(point)
        self._waiting = []
        if not self._put(lambda session: self._tell(session, by_network), patience):
            self.left_out += sum(map(len, by_network.values()))

    def _put(self, call: Call | None, patience: float) -> bool:
        """Whether there was room for a call."""
        self.look()
        if self.trouble:
            return False
        try:
            self._queue.put(call, block=patience > 0, timeout=patience or None)
        except queue.Full:
            if patience > 0:
                self._give_up(f"it did not answer for {patience:g} s")
            return False
        return True

    def _give_up(self, why: str) -> None:
        if not self.trouble:
            self.trouble = why
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.notify_all()

    @property
    def networks(self) -> set[str]:
        return {network for network, _ in self._sent}

    @property
    def slow(self) -> str:
        """What was left out because the tracker was too slow; "" where nothing was."""
        if not self.left_out or self.trouble:
            return ""
        return f"it was too slow: {counted(self.left_out, 'point')} of curves left out"

    # the thread ---------------------------------------------------------------------------------

    def _work(self, run: TrackedRun) -> None:
        try:
            session = self.tracker.begin(run)
            if session.token != run.token:
                self._sent.clear()  # it is another run, which has nothing of what an earlier one had
            self._session, self.where = session, session.where
            self._memory.begun(self._key, session.token)
            self._since = None
            self._began.set()
            while not self.trouble and (call := self._queue.get()) is not None:
                self._since = time.monotonic()
                call(session)
                self._since = None
                self._queue.task_done()
        except BaseException as error:  # whatever a library does, it ends tracking and nothing else
            self._since = None
            self._give_up(_reason(error))
            self._began.set()

    def _tell(self, session: Session, found: Mapping[str, list[Scalar]]) -> None:
        for network, points in found.items():
            session.metrics(network, points)
            self._memory.told(self._key, network, points)
        self._memory.save()


def _reason(error: BaseException) -> str:
    """An exception in one line."""
    lines: list[Any] = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
