import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from server.engine.threads import Threads


def test_calls_run_one_after_the_other_on_one_thread() -> None:
    thread = Threads("one")
    order: list[int] = []
    futures = [thread.submit(order.append, index) for index in range(100)]
    names = {thread.submit(lambda: threading.current_thread().name).result(10) for _ in range(3)}

    assert all(future.result(10) is None for future in futures)
    assert order == list(range(100))
    assert names == {"one"}
    thread.shutdown()


async def test_a_loop_can_wait_for_it() -> None:
    thread = Threads("one")

    assert await asyncio.get_running_loop().run_in_executor(thread, divmod, 7, 2) == (3, 1)
    thread.shutdown()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_a_call_raises_is_the_callers_and_the_thread_goes_on(
    error: type[BaseException],
) -> None:
    thread = Threads("one")

    def fail() -> None:
        raise error("for the test")

    with pytest.raises(error):
        thread.submit(fail).result(10)
    assert thread.submit(len, "abc").result(10) == 3
    thread.shutdown()


def test_a_failed_call_leaves_nothing_once_its_traceback_is_gone() -> None:
    thread, refs = Threads("one"), []

    def fail() -> None:
        scratch = np.zeros(1000)
        refs.append(weakref.ref(scratch))
        raise MemoryError

    gc.disable()
    try:
        error = thread.submit(fail).exception(10)
        assert error is not None
        error.with_traceback(None)
        thread.submit(len, "").result(10)  # now it has let go of the call before

        assert refs[0]() is None
    finally:
        gc.enable()
    thread.shutdown()


def test_after_the_shutdown_nothing_begins() -> None:
    thread = Threads("one")
    began, ends = threading.Event(), threading.Event()

    def busy() -> int:
        began.set()
        ends.wait(10)
        return 1

    first, second = thread.submit(busy), thread.submit(len, "abc")
    assert began.wait(10)
    thread.shutdown()
    ends.set()

    assert first.result(10) == 1
    assert second.cancelled()
    with pytest.raises(RuntimeError):
        thread.submit(len, "abc")
    thread.shutdown()


def test_a_cancelled_call_never_runs() -> None:
    thread = Threads("one")
    ends = threading.Event()
    thread.submit(ends.wait, 10)
    ran: list[int] = []
    cancelled = thread.submit(ran.append, 1)
    assert cancelled.cancel()
    ends.set()
    thread.submit(ran.append, 2).result(10)

    assert ran == [2]
    thread.shutdown()


def test_a_call_that_is_cancelled_while_it_waits_holds_nothing_any_more() -> None:
    class File:
        """What a call may hold."""

    thread, ends, file = Threads("one"), threading.Event(), File()
    kept = weakref.ref(file)
    thread.submit(ends.wait, 10)
    waiting = thread.submit(id, file)
    del file
    assert kept() is not None
    waiting.cancel()
    assert kept() is None
    ends.set()
    thread.shutdown()


def test_as_many_calls_run_at_once_as_there_are_threads() -> None:
    threads, meet = Threads("both", 2), threading.Barrier(2, timeout=10)
    meetings = [threads.submit(meet.wait) for _ in range(2)]
    assert {meeting.result(10) for meeting in meetings} == {0, 1}
    threads.shutdown()


def test_the_longest_call_says_how_busy_the_threads_are() -> None:
    threads, began, ends = Threads("both", 2), threading.Event(), threading.Event()
    assert threads.busy_s == 0.0

    def work() -> None:
        began.set()
        ends.wait(10)

    long = threads.submit(work)
    assert began.wait(10)
    before = threads.busy_s
    threads.submit(len, "abc").result(10)
    assert threads.busy_s > before > 0.0
    ends.set()
    long.result(10)
    threads.submit(len, "").result(10)
    threads.shutdown()


def test_a_device_that_hangs_does_not_keep_the_process_alive() -> None:
    script = """
import asyncio, threading
from server.engine.engine import Engine
from tests.support.engines import SETTINGS, GatedModel, ask, opened

class Hanging(GatedModel):
    def answer(self, batch):
        threading.Event().wait()

async def main():
    engine = Engine(Hanging, SETTINGS)
    await engine.start()
    stuck = ask(engine, await opened(engine))
    await stuck.started.wait()
    await engine.stop()
    print(await stuck.error())

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "restarting\n"
