"""What the demo and `samwire segment` share: typed prompts, output files, names of options."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from client_demo import overlay
from client_demo.overlay import RgbImage
from server.rle import BinaryMask

__all__ = ["Prompts", "Wanted", "parse_prompts", "write"]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What the user pointed at."""

    points: tuple[tuple[float, float, int], ...]
    box: tuple[float, float, float, float] | None

    def in_pixels(self, width: int, height: int) -> "Prompts":
        """The same on a photo of this size, of what was given in 0..1 of it."""
        points = tuple((x * width, y * height, label) for x, y, label in self.points)
        if self.box is None:
            return Prompts(points, None)
        x0, y0, x1, y1 = self.box
        return Prompts(points, (x0 * width, y0 * height, x1 * width, y1 * height))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of the mask."""

    out: Path | None = None
    overlay: Path | None = None
    as_json: bool = False


def parse_prompts(include: Sequence[str], exclude: Sequence[str], box: str | None) -> Prompts:
    """Read "x,y" and "x0,y0,x1,y1".

    Raises:
        ValueError: not as many numbers as expected, or nothing says where the object is.
    """
    if not include and box is None:
        raise ValueError("say where the object is: --point x,y or --box x0,y0,x1,y1")
    points = tuple([_point(text, 1) for text in include] + [_point(text, 0) for text in exclude])
    if box is None:
        return Prompts(points, None)
    x0, y0, x1, y1 = _numbers(box, 4)
    return Prompts(points, (x0, y0, x1, y1))


def write(
    wanted: Wanted, mask: BinaryMask, prompts: Prompts, photo: Callable[[], RgbImage]
) -> None:
    """Write the files that are wanted; `photo` is read only for the one that shows it."""
    if wanted.out is not None:
        overlay.save_png(wanted.out, mask)
    if wanted.overlay is not None:
        drawn = overlay.draw(photo(), mask, points=prompts.points, box=prompts.box)
        overlay.save_png(wanted.overlay, drawn)


def _point(text: str, label: int) -> tuple[float, float, int]:
    x, y = _numbers(text, 2)
    return x, y, label


def _numbers(text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(isfinite, numbers)):
        raise ValueError(f"expected {count} numbers with commas between them, got {text!r}")
    return numbers
