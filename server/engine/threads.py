"""A thread that cannot keep the process from ending.

Python joins the threads of its own executors before it exits, so a device that hangs would keep a
server alive that was told to stop. This one is a daemon, and otherwise an executor of one thread.
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["OneThread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(slots=True)
class _Call(Generic[_T]):
    work: Callable[[], _T]
    future: Future[_T]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        # Whatever it is, it is for whoever waits.
        except BaseException as error:  # noqa: BLE001
            self.future.set_exception(error)
            del self  # the error's traceback holds this frame, and through it all that failed
        else:
            self.future.set_result(result)


class OneThread(Executor):
    """Runs one call after the other.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._ends = False
        self._ending = threading.Lock()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Queue a call.

        Raises:
            RuntimeError: after `shutdown`.
        """
        future: Future[_T] = Future()
        with self._ending:  # nothing may come after the call that ends it
            if self._ends:
                raise RuntimeError("this thread has been told to end")
            self._calls.put(_Call(partial(fn, *args, **kwargs), future))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """End the thread after the call it is at; what has not begun is cancelled."""
        del wait, cancel_futures  # an executor's arguments; here there is one way
        with self._ending:
            self._ends = True
            with contextlib.suppress(Empty):
                while True:
                    self._drop(self._calls.get_nowait())
            self._calls.put(None)

    @staticmethod
    def _drop(call: _Call[Any] | None) -> None:
        if call is not None:
            call.future.cancel()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call
