import gc
import threading

import numpy as np
import pytest

from server.engine.models.base import run_steps
from server.engine.models.resizing.threaded import Resizer, pillow_resize
from server.engine.models.upstream import ResizeLongestSide
from server.engine.types import RgbImage, Size

SMALL = np.zeros((2, 3, 3), np.uint8)


def test_a_large_image_is_resized_as_sam_predictor_does_while_other_work_may_run() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1700, 2300, 3), dtype=np.uint8)
    steps = Resizer().run(pillow_resize, image, (512, 378))
    assert next(steps) == 0.0
    np.testing.assert_array_equal(run_steps(steps), ResizeLongestSide(512).apply_image(image))


def test_what_fails_on_the_thread_fails_in_the_encode() -> None:
    def fails(_image: RgbImage, _size: Size) -> RgbImage:
        raise MemoryError

    with pytest.raises(MemoryError):
        run_steps(Resizer().run(fails, SMALL, (1, 1)))


def test_a_resize_abandoned_before_its_turn_is_never_made() -> None:
    begun, may_end, made = threading.Event(), threading.Event(), []

    def slow(image: RgbImage, _size: Size) -> RgbImage:
        begun.set()
        may_end.wait()
        return image

    def noted(image: RgbImage, _size: Size) -> RgbImage:
        made.append(image)
        return image

    resizer = Resizer()
    first, second = (resizer.run(resize, SMALL, (3, 2)) for resize in (slow, noted))
    next(first)
    next(second)
    begun.wait()
    second.close()
    may_end.set()
    run_steps(first)
    run_steps(resizer.run(pillow_resize, SMALL, (3, 2)))
    assert made == []


def test_its_thread_keeps_nothing_from_ending_and_ends_with_it() -> None:
    before = set(threading.enumerate())
    resizer = Resizer()
    [thread] = set(threading.enumerate()) - before
    assert thread.daemon
    run_steps(resizer.run(pillow_resize, SMALL, (1, 1)))
    del resizer
    gc.collect()
    thread.join(timeout=30)
    assert not thread.is_alive()
