import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.engine.second_look.colours import LIMIT, ColourCube

SIDE = 96


def two_tone(left: tuple[int, int, int], right: tuple[int, int, int]) -> NDArray[np.float32]:
    """Half and half, with a little noise."""
    planes = np.empty((3, SIDE, SIDE), np.float64)
    planes[:, :, : SIDE // 2] = np.reshape(left, (3, 1, 1))
    planes[:, :, SIDE // 2 :] = np.reshape(right, (3, 1, 1))
    noise = np.random.default_rng(0).normal(0, 2, planes.shape)
    return np.clip(planes + noise, 0, 255).round().astype(np.float32)


def a_corner() -> NDArray[np.float32]:
    """Sure of a few pixels of the left half."""
    inside = np.zeros((SIDE, SIDE), np.float32)
    inside[:32, :24] = 1.0
    return inside


@pytest.mark.parametrize(
    "colours",
    [((200, 40, 40), (40, 40, 200)), ((90, 90, 90), (110, 110, 110))],
    ids=["red and blue", "grey and another grey"],
)
def test_a_colour_seen_inside_speaks_for_inside_wherever_it_is(
    colours: tuple[tuple[int, int, int], tuple[int, int, int]],
) -> None:
    said = ColourCube(two_tone(*colours)).evidence(a_corner())
    left, right = said[:, : SIDE // 2], said[:, SIDE // 2 :]
    assert np.median(left) > 0.5
    assert np.median(right) < -1.0


def test_one_colour_says_nothing() -> None:
    plain = np.full((3, SIDE, SIDE), 77, np.float32)
    np.testing.assert_allclose(ColourCube(plain).evidence(a_corner()), 0.0, atol=0.05)


def test_turning_inside_out_turns_the_sign() -> None:
    cube = ColourCube(two_tone((180, 120, 60), (60, 120, 180)))
    inside = a_corner()
    np.testing.assert_allclose(cube.evidence(1 - inside), -cube.evidence(inside), atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]))
def test_evidence_is_always_a_bounded_number(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (3, 8, 9)).astype(np.float32)
    if seed % 3 == 0:
        picture[:] = picture[:, :1, :1]
    inside = (rng.random((8, 9)) < share).astype(np.float32)
    said = ColourCube(picture).evidence(inside)
    assert said.shape == (8, 9)
    assert said.dtype == np.float32
    assert np.isfinite(said).all()
    assert (np.abs(said) <= LIMIT).all()
