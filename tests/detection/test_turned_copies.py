from __future__ import annotations

import numpy as np
import pytest

from mien.detection.turned_copies import TurnedCopies, turn_back


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_turn_back_inverts_rot90(quarter_turns: int) -> None:
    image = np.zeros((40, 60), np.uint8)
    image[10:14, 20:26] = 1
    turned = np.rot90(image, quarter_turns)
    rows, columns = np.nonzero(turned)
    square = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    values = np.array([[*square, *square[:2] * 5]], np.float64)
    assert turn_back(values, quarter_turns, (60, 40))[0, :4].tolist() == [20, 10, 26, 14]


@pytest.mark.parametrize("quarter_turns", [(1, 2, 3), (2,), (1, 3)])
def test_square_is_found_again_in_each_copy(quarter_turns: tuple[int, ...]) -> None:
    image_rgb = np.zeros((400, 600, 3), np.uint8)
    image_rgb[100:140, 200:260] = 255
    copies = TurnedCopies(image_rgb, 120, quarter_turns)
    bright = copies.canvas_rgb[:, :, 0] > 127
    starts = np.cumsum([0] + [120 if turns == 2 else 80 for turns in quarter_turns])
    assert copies.canvas_rgb.shape == (80 if quarter_turns == (2,) else 120, starts[-1], 3)
    for turns, start, end in zip(quarter_turns, starts, starts[1:], strict=False):
        rows, columns = np.nonzero(bright[:, start:end])
        square = [start + columns.min(), rows.min(), start + columns.max() + 1, rows.max() + 1]
        values = np.array([[*square, *square[:2] * 5]], np.float64)
        assert copies.turns_of(values).tolist() == [turns]
        assert copies.in_image(values)[0, :4] == pytest.approx([200, 100, 260, 140], abs=6)


def test_small_image_is_not_enlarged() -> None:
    assert TurnedCopies(np.zeros((3, 5, 3), np.uint8), 112, (1,)).canvas_rgb.shape == (5, 3, 3)
