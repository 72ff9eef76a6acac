"""Threads that cannot keep the process from ending, nor keep what they were told to forget.

Python joins the threads of its own executors before it exits, so a device that hangs would keep a
server alive that was told to stop; these are daemons. A call that is cancelled while it waits lets
go at once of all that it holds, which can be a whole file; Python's keep it until its turn comes.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["Threads"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(slots=True)
class _Call(Generic[_T]):
    work: list[Callable[[], _T]]
    """One, or none any more: emptied when the call ends, also by being cancelled."""
    future: Future[_T]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work[0]()
        # Whatever it is, it is for whoever waits.
        except BaseException as error:  # noqa: BLE001
            self.future.set_exception(error)
            del self  # the error's traceback holds this frame, and through it all that failed
        else:
            self.future.set_result(result)


class Threads(Executor):
    """Runs calls in the order in which they come.

    Args:
        name: of the threads.
        count: calls that may run at once.
    """

    def __init__(self, name: str, count: int = 1) -> None:
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._ends = False
        self._ending = threading.Lock()
        self._began: dict[int, float] = {}
        """When each thread that is at a call began it; on the monotonic clock."""
        self._count = count
        for number in range(count):
            threading.Thread(target=self._run, args=(number,), name=name, daemon=True).start()

    @property
    def busy_s(self) -> float:
        """How long the longest of the present calls has taken; 0 when there is none."""
        began = min(list(self._began.values()), default=None)
        return 0.0 if began is None else time.monotonic() - began

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Queue a call.

        Raises:
            RuntimeError: after `shutdown`.
        """
        future: Future[_T] = Future()
        with self._ending:  # nothing may come after the call that ends it
            if self._ends:
                raise RuntimeError("this thread has been told to end")
            work: list[Callable[[], _T]] = [partial(fn, *args, **kwargs)]
            future.add_done_callback(lambda _ended: work.clear())
            self._calls.put(_Call(work, future))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """End each thread after the call it is at; what has not begun is cancelled."""
        del wait, cancel_futures  # an executor's arguments; here there is one way
        with self._ending:
            self._ends = True
            with contextlib.suppress(Empty):
                while True:
                    self._drop(self._calls.get_nowait())
            for _ in range(self._count):
                self._calls.put(None)

    @staticmethod
    def _drop(call: _Call[Any] | None) -> None:
        if call is not None:
            call.future.cancel()

    def _run(self, number: int) -> None:
        while (call := self._calls.get()) is not None:
            self._began[number] = time.monotonic()
            call.run()
            del call, self._began[number]
