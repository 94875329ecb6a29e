"""Capital letters and digits, 5 x 7, for text inside pixels: no font file, no imaging library."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Each row is one letter: seven lines from top to bottom, five bits each, most significant bit to the left.
_GLYPHS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "D": (30, 17, 17, 17, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 6, 8, 16, 31),
    "3": (30, 1, 1, 14, 1, 1, 30),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (14, 16, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 1, 14),
    "/": (1, 1, 2, 4, 8, 16, 16),
    " ": (0,) * 7,
}


def draw_text(pixels: npt.NDArray[np.int16], text: str, row: int, column: int, value: int, scale: int = 2) -> None:
    """Draw `text` (letters that `_GLYPHS` has) into `pixels`, its top left corner at (row, column), in place;
    what lies beyond the picture is left out."""
    for letter in text:
        lines = np.array([[line >> bit & 1 for bit in range(4, -1, -1)] for line in _GLYPHS[letter]], dtype=bool)
        mask = np.kron(lines, np.ones((scale, scale), dtype=bool))
        height, width = mask.shape
        area = pixels[row : row + height, column : column + width]
        area[mask[: area.shape[0], : area.shape[1]]] = value
        column += width + scale
