import numpy as np
import pytest

from training.figures import side_by_side, summarise, table


def rows(clicks: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ious = np.sort(rng.random((40, clicks)), axis=1)
    columns = {f"click{k + 1}": ious[:, k] for k in range(clicks)}
    columns |= {name: rng.random(40) for name in ("best_of_three", "score1", "box", "box_score")}
    columns |= {"filled_box": np.full(40, 0.3), "grabcut_box": np.full(40, 0.2)}
    columns |= {"area": rng.random(40), "photo": np.repeat(np.arange(10.0), 4)}
    return columns


def test_the_number_of_clicks_counts_the_cap_for_what_was_never_reached() -> None:
    given = rows()
    for k in range(5):
        given[f"click{k + 1}"] = np.array([0.5] * 20 + [0.95] * 10 + [0.1 + 0.2 * k] * 10)
    assert summarise(given)["figures"]["noc80"][0] == pytest.approx((20 * 5 + 10 * 1 + 10 * 5) / 40)


def test_the_gain_of_a_box_is_over_the_better_baseline() -> None:
    figures = summarise(rows())["figures"]
    assert figures["box_gain"][0] == pytest.approx(figures["box"][0] - 0.3, abs=1e-3)


def test_intervals_hold_their_mean_and_widen_with_fewer_photos() -> None:
    given = rows()
    value, low, high = summarise(given)["figures"]["box"]
    assert low < value < high
    given["photo"] = np.repeat(np.arange(2.0), 20)
    given["box"] = np.repeat([0.1, 0.9], 20)
    _, low, high = summarise(given)["figures"]["box"]
    assert (low, high) == (0.1, 0.9)


def test_the_table_names_every_figure_of_the_bars() -> None:
    text = table(summarise(rows()))
    for name in ("click1", "best_of_three", "click5", "box", "box_gain", "noc80", "filled_box"):
        assert name in text


def test_other_weights_are_compared_mask_by_mask() -> None:
    ours = rows()
    theirs = ours | {"box": ours["box"] - 0.1}
    [line] = [one for one in side_by_side(ours, theirs).splitlines() if one.startswith("box ")]
    assert "+0.100 [+0.100, +0.100]" in line
