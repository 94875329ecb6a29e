"""A made-up chest in Hounsfield units: ellipses and vessels that change from slice to slice. Anatomy it is not."""

from __future__ import annotations

from functools import lru_cache
from math import cos, exp, pi, sin

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.int16]
Plane = npt.NDArray[np.float32]

SLICE_MM = 5.0
AIR, LUNG, FAT, FLUID, MUSCLE, LIVER, BLOOD, MARROW, BONE = -1000, -860, -90, 10, 48, 95, 240, 260, 850


@lru_cache(maxsize=4)
def _grid(size: int) -> tuple[Plane, Plane]:
    """Coordinates from -1 to 1, x to the patient's left, y to the back."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, None], (size, size))


class _Canvas:
    """One slice in the making; `put` fills an ellipse with a value, the later over the earlier."""

    def __init__(self, size: int) -> None:
        self.hu = np.full((size, size), AIR, dtype=np.int16)
        self._size = size

    def put(self, value: int, x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> None:
        gx, gy = _grid(self._size)
        reach = max(rx, ry)
        # Only the box around the ellipse is touched: 60 ellipses a slice stay cheap.
        x0, x1 = (round((v + 1) / 2 * self._size) for v in (x - reach, x + reach))
        y0, y1 = (round((v + 1) / 2 * self._size) for v in (y - reach, y + reach))
        box = np.s_[max(y0 - 1, 0) : y1 + 2, max(x0 - 1, 0) : x1 + 2]
        dx, dy = gx[box] - x, gy[box] - y
        along, across = dx * cos(turn) + dy * sin(turn), dy * cos(turn) - dx * sin(turn)
        self.hu[box][(along / rx) ** 2 + (across / ry) ** 2 <= 1] = value


def chest_slice(t: float, size: int) -> Pixels:
    """One axial slice, `t` from 0 (top of the chest) to 1 (the liver's level): size x size, signed HU."""
    canvas = _Canvas(size)
    width, depth = 0.80 + 0.05 * sin(pi * t), 0.54 + 0.05 * t
    canvas.put(FAT, 0, 0, width, depth)
    canvas.put(MUSCLE, 0, 0, width - 0.05, depth - 0.05)
    _ribs(canvas, t, width - 0.085, depth - 0.085)
    _lungs(canvas, t)
    _mediastinum(canvas, t)
    _spine(canvas, t, depth)
    gx, gy = _grid(size)
    couch = (np.abs(gy - 0.76 + 0.06 * gx**2) < 0.012) & (np.abs(gx) < 0.75)
    canvas.hu[couch] = 150
    # A little scanner noise, the same for the same slice.
    noise = np.random.default_rng(int(t * 1000)).normal(0, 10, canvas.hu.shape)
    return np.clip(canvas.hu + noise, -1024, 3000).astype(np.int16)


def _ribs(canvas: _Canvas, t: float, width: float, depth: float) -> None:
    for side in (-1, 1):
        for number in range(6):
            angle = 0.55 + number * 0.46 + 0.23 * sin(9 * t + number)
            x, y = side * width * sin(angle), depth * cos(angle)
            turn = -side * angle
            canvas.put(BONE, x, y, 0.085, 0.024, turn)
            canvas.put(MARROW, x, y, 0.065, 0.011, turn)
    canvas.put(BONE, 0, -depth + 0.005, 0.09, 0.028)
    canvas.put(MARROW, 0, -depth + 0.005, 0.07, 0.014)


def _lungs(canvas: _Canvas, t: float) -> None:
    spread = 0.55 + 0.45 * sin(pi * min(t + 0.18, 0.75))
    for side in (-1, 1):
        canvas.put(LUNG, side * 0.385, 0.02, 0.285 * spread, 0.41 * spread, -side * 0.12)
    for side in (-1, 1):
        _vessels(canvas, t, side, spread)
    # A nodule for whoever scrolls.
    if abs(t - 0.30) < 0.07:
        radius = 0.034 * cos((t - 0.30) / 0.07 * pi / 2)
        canvas.put(MUSCLE, -0.47, -0.14, radius, radius)
    if t > 0.62:
        rise = (t - 0.62) / 0.38
        canvas.put(LIVER, -0.36, 0.03, 0.10 + 0.22 * rise, 0.14 + 0.27 * rise, 0.12)
        for number in range(5):
            angle = number * 1.3 + 2 * rise
            reach = 0.05 + 0.15 * rise
            canvas.put(160, -0.36 + reach * cos(angle), 0.03 + reach * sin(angle), 0.03, 0.012, angle)
    if t > 0.78:
        rise = (t - 0.78) / 0.22
        canvas.put(LIVER, 0.12, -0.26, 0.20 * rise + 0.02, 0.10 * rise + 0.02, 0.2)
        canvas.put(130, 0.46, 0.16, 0.14 * rise + 0.01, 0.20 * rise + 0.01, -0.5)


def _vessels(canvas: _Canvas, t: float, side: int, spread: float) -> None:
    """Branches that leave the hilum at t = 0.4 and come out the farther, the thinner, up and down from it."""
    away = abs(t - 0.4)
    for number in range(14):
        angle = -2.0 + number * 0.29 + 0.35 * sin(3 * number)
        reach = (0.05 + 0.36 * min(1.0, 0.25 + away * (1.0 + 0.5 * sin(5 * number + 1)))) * spread
        reach += 0.10 * (number % 3) * spread
        x = side * (0.20 + reach * abs(cos(angle)))
        y = 0.02 + 1.05 * reach * sin(angle)
        thick = 0.020 * exp(-2.2 * reach) + 0.004
        inside = ((x - side * 0.385) / (0.275 * spread)) ** 2 + ((y - 0.02) / (0.40 * spread)) ** 2 < 0.92
        if inside:
            canvas.put(60 + 10 * (number % 4), x, y, thick * (1.6 + 0.6 * sin(number)), thick, side * angle)


def _mediastinum(canvas: _Canvas, t: float) -> None:
    canvas.put(FAT, 0, -0.02, 0.155, 0.36)
    canvas.put(MUSCLE, 0, 0.22, 0.13, 0.10)
    if t > 0.38:
        _heart(canvas, min((t - 0.38) / 0.2, 1.0), t)
    if t < 0.22:
        for x, y, radius in (
            (-0.10, -0.08, 0.035),
            (-0.045, -0.13, 0.030),
            (0.075, -0.06, 0.030),
            (0.10, -0.15, 0.036),
        ):
            canvas.put(BLOOD, x, y + 0.1 * t, radius, radius)
    elif t < 0.32:
        canvas.put(BLOOD, 0.05, -0.02, 0.060, 0.17, 0.28)
        canvas.put(BLOOD - 30, -0.095, -0.08, 0.042, 0.036)
    else:
        canvas.put(BLOOD, 0.115, 0.20, 0.052, 0.052)
        if t < 0.62:
            canvas.put(BLOOD, -0.035, -0.11, 0.064, 0.060)
            canvas.put(BLOOD - 30, -0.115, -0.05, 0.038, 0.036)
        if 0.36 < t < 0.48:
            canvas.put(BLOOD - 20, 0.08, -0.06, 0.115, 0.042, 0.5)
    _airways(canvas, t)
    canvas.put(70, 0.02, 0.16, 0.026, 0.020)
    canvas.put(-300, 0.02, 0.16, 0.009, 0.006)


def _heart(canvas: _Canvas, grown: float, t: float) -> None:
    x, y, turn = 0.11 * grown, -0.10, 0.45
    size = 0.7 + 0.3 * grown - max(0.0, t - 0.85) * 2.2
    canvas.put(FAT, x, y, 0.315 * size, 0.235 * size, turn)
    canvas.put(110, x, y, 0.295 * size, 0.215 * size, turn)
    canvas.put(BLOOD, x + 0.11 * size, y + 0.035 * size, 0.135 * size, 0.088 * size, turn)
    canvas.put(BLOOD - 45, x - 0.06 * size, y - 0.085 * size, 0.150 * size, 0.070 * size, 0.3)
    canvas.put(BLOOD - 60, x - 0.17 * size, y + 0.03 * size, 0.085 * size, 0.095 * size)
    if t < 0.75:
        canvas.put(BLOOD - 10, x - 0.05 * size, y + 0.135 * size, 0.11 * size, 0.065 * size)


def _airways(canvas: _Canvas, t: float) -> None:
    if t < 0.36:
        canvas.put(60, 0, 0.09, 0.046, 0.046)
        canvas.put(AIR, 0, 0.09, 0.037, 0.037)
    elif t < 0.56:
        apart = 0.035 + 0.75 * (t - 0.36)
        for side in (-1, 1):
            canvas.put(60, side * apart, 0.085, 0.044, 0.034, side * 0.35)
            canvas.put(AIR, side * apart, 0.085, 0.034, 0.024, side * 0.35)


def _spine(canvas: _Canvas, t: float, depth: float) -> None:
    y = depth - 0.22
    disc = sin(26 * t) > 0.75
    canvas.put(MUSCLE, 0, y + 0.07, 0.30, 0.12)
    for side in (-1, 1):
        canvas.put(BONE, side * 0.125, y + 0.075, 0.105, 0.024, side * 0.5)
        canvas.put(MARROW, side * 0.125, y + 0.075, 0.085, 0.010, side * 0.5)
    canvas.put(90 if disc else BONE - 150, 0, y, 0.112, 0.092)
    canvas.put(75 if disc else MARROW, 0, y, 0.094, 0.075)
    canvas.put(BONE, 0, y + 0.125, 0.070, 0.058)
    canvas.put(FLUID, 0, y + 0.120, 0.046, 0.038)
    canvas.put(MUSCLE - 10, 0, y + 0.120, 0.026, 0.022)
    canvas.put(BONE, 0, y + 0.195, 0.017, 0.060)
