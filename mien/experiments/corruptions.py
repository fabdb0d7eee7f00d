"""Eight corruptions of faces in five strengths, reproducible from a seed."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mien.errors import ConfigError, near

Faces = NDArray[np.uint8]
"""(N, H, W) gray, values 0..255."""
Corrupt = Callable[[Faces, float, np.random.Generator], Faces]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: Its name.
        unit: The meaning of its values.
        values: The value of each of the five strengths, weakest first.
        apply: (faces, value, random generator) -> corrupted faces.
    """

    name: str
    unit: str
    values: tuple[float, float, float, float, float]
    apply: Corrupt


def corrupt(faces: Faces, name: str, strength: int, seed: int = 0) -> Faces:
    """Corrupts faces; the same arguments always give the same result, so that networks can be compared.

    Args:
        faces: (N, H, W) gray, values 0..255.
        name: One of CORRUPTIONS.
        strength: 1..5.
        seed: Seed of noise, positions and directions.

    Returns:
        Faces of the same shape.

    Raises:
        ConfigError: There is no such corruption or strength.
    """
    if name not in CORRUPTIONS:
        raise ConfigError(f"unknown corruption {name[:80]}: {near(name, CORRUPTIONS)}")
    if not 1 <= strength <= 5:
        raise ConfigError(f"the strength of a corruption must be 1..5, got {strength}")
    corruption = CORRUPTIONS[name]
    random = np.random.default_rng([seed, strength, zlib.crc32(name.encode())])
    return corruption.apply(faces, corruption.values[strength - 1], random)


def _map_images(faces: Faces, change: Callable[[Image.Image], Image.Image]) -> Faces:
    return np.stack([np.asarray(change(Image.fromarray(face))) for face in faces])


def _blur(faces: Faces, sigma: float, random: np.random.Generator) -> Faces:
    return _map_images(faces, lambda face: face.filter(ImageFilter.GaussianBlur(sigma * face.width)))


def _noise(faces: Faces, deviation: float, random: np.random.Generator) -> Faces:
    noisy = faces + random.normal(0, 255 * deviation, faces.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def _jpeg(faces: Faces, quality: float, random: np.random.Generator) -> Faces:
    def compressed(face: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        face.save(stream, "JPEG", quality=int(quality))
        return Image.open(stream)

    return _map_images(faces, compressed)


def _low_light(faces: Faces, light: float, random: np.random.Generator) -> Faces:
    """Simulates fewer photons: darker and with shot noise (Poisson), at most `light` * 255 photons per pixel."""
    return random.poisson(faces * light).clip(0, 255).astype(np.uint8)


def _occlusion(faces: Faces, side: float, random: np.random.Generator) -> Faces:
    """Covers a random place of the face with a gray square."""
    n, height, width = faces.shape
    extent = round(side * width)
    y, x = (random.integers(0, length - extent + 1, n) for length in (height, width))
    rows, columns = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    covered = (rows >= y[:, None, None]) & (rows < y[:, None, None] + extent)
    covered = covered & (columns >= x[:, None, None]) & (columns < x[:, None, None] + extent)
    return np.where(covered, np.uint8(128), faces)


def _rotation(faces: Faces, degrees: float, random: np.random.Generator) -> Faces:
    """Rotates to a random side; pixels from outside the face repeat its edge."""
    pad = faces.shape[1] // 2
    signs = random.choice([-1, 1], len(faces))
    padded = np.pad(faces, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    turned = [
        np.asarray(Image.fromarray(face).rotate(float(sign * degrees), Image.Resampling.BILINEAR))
        for face, sign in zip(padded, signs, strict=True)
    ]
    return np.stack(turned)[:, pad:-pad, pad:-pad]


def _shift(faces: Faces, fraction: float, random: np.random.Generator) -> Faces:
    """Shifts in a random direction; pixels from outside the face repeat its edge."""
    n, height, width = faces.shape
    angle = random.uniform(0, 2 * np.pi, n)
    dy, dx = (np.rint(fraction * width * component).astype(int) for component in (np.sin(angle), np.cos(angle)))
    rows = np.clip(np.arange(height)[None] + dy[:, None], 0, height - 1)
    columns = np.clip(np.arange(width)[None] + dx[:, None], 0, width - 1)
    return np.asarray(faces[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]])


def _resolution(faces: Faces, pixels: float, random: np.random.Generator) -> Faces:
    """Shrinks the face and enlarges it again."""
    side = int(pixels)

    def reduced(face: Image.Image) -> Image.Image:
        return face.resize((side, side), Image.Resampling.BOX).resize(face.size, Image.Resampling.BILINEAR)

    return _map_images(faces, reduced)


CORRUPTIONS = {
    each.name: each
    for each in (
        Corruption("blur", "sigma, fraction of the face's side", (0.01, 0.02, 0.03, 0.045, 0.06), _blur),
        Corruption("noise", "deviation, fraction of the gray range", (0.04, 0.08, 0.12, 0.18, 0.26), _noise),
        Corruption("jpeg", "quality", (40, 25, 15, 10, 5), _jpeg),
        Corruption("low light", "photons of a white pixel / 255", (0.5, 0.25, 0.12, 0.06, 0.03), _low_light),
        Corruption("occlusion", "side of the square, fraction of the face's", (0.2, 0.3, 0.4, 0.5, 0.6), _occlusion),
        Corruption("rotation", "degrees", (10, 20, 30, 45, 60), _rotation),
        Corruption("shift", "fraction of the face's side", (0.05, 0.1, 0.15, 0.2, 0.3), _shift),
        Corruption("resolution", "pixels along the face's side", (32, 24, 16, 12, 8), _resolution),
    )
}
"""Name -> corruption, in the order of tables and figures."""
