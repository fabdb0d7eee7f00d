"""Seeded damage to any file: what a bad disk, a cut download and a person with a hex editor do."""

from __future__ import annotations

import random
import struct
import zlib

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at the edges of their ranges."""


def flip(data: bytes, r: random.Random, most: int = 32, head: int | None = None) -> bytes:
    """Flips up to `most` bits, all within the first `head` bytes."""
    damaged = bytearray(data)
    for _ in range(r.randint(1, most)):
        damaged[r.randrange(min(head or len(damaged), len(damaged)))] ^= 1 << r.randrange(8)
    return bytes(damaged)


def cut(data: bytes, r: random.Random) -> bytes:
    """Drops the end."""
    return data[: r.choice((r.randrange(16), r.randrange(len(data)), int(len(data) * r.uniform(0.8, 1))))]


def fill(data: bytes, r: random.Random) -> bytes:
    """Overwrites a part with zeros, ones or noise."""
    start, n = r.randrange(len(data)), r.choice((4, 16, 64, 512))
    return data[:start] + r.choice((b"\0" * n, b"\xff" * n, r.randbytes(n))) + data[start + n :]


def insert(data: bytes, r: random.Random) -> bytes:
    """Inserts noise."""
    start = r.randrange(len(data))
    return data[:start] + r.randbytes(r.choice((1, 2, 8, 300))) + data[start:]


def drop(data: bytes, r: random.Random) -> bytes:
    """Leaves out a part."""
    start = r.randrange(len(data))
    return data[:start] + data[start + r.choice((1, 2, 8, 300)) :]


def repeat(data: bytes, r: random.Random) -> bytes:
    """Repeats a part."""
    start, n = r.randrange(len(data)), r.choice((2, 16, 256))
    return data[:start] + data[start : start + n] * r.choice((2, 5, 50)) + data[start + n :]


def edge(data: bytes, r: random.Random, head: int = 256) -> bytes:
    """Replaces a number of the header by one at the edge of its range."""
    form = r.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(data) <= size:
        return data
    start = r.randrange(min(head, len(data) - size))
    value = r.choice(EDGES) & (0xFFFF if size == 2 else 0xFFFFFFFF)
    return data[:start] + struct.pack(form, value) + data[start + size :]


def splice(data: bytes, r: random.Random, other: bytes) -> bytes:
    """Goes on with another file."""
    return data[: r.randrange(len(data))] + other[r.randrange(len(other)) :]


def with_png_checksums(data: bytes) -> bytes:
    """Corrects the checksums of a PNG's chunks, so that a reader goes on to look at their content."""
    fixed, start = bytearray(data[:8]), 8
    while start + 12 <= len(data):
        n = int.from_bytes(data[start : start + 4], "big")
        fixed += data[start : start + 8 + n] + struct.pack(">I", zlib.crc32(data[start + 4 : start + 8 + n]))
        start += 12 + n
    return bytes(fixed)


def damaged(data: bytes, r: random.Random, other: bytes) -> tuple[str, bytes]:
    """Damages a file in one random way, sometimes in two -> (name of the damage, content)."""
    kinds = {
        "flip": lambda d: flip(d, r), "flip1": lambda d: flip(d, r, 1), "head": lambda d: flip(d, r, 4, 64),
        "cut": lambda d: cut(d, r), "fill": lambda d: fill(d, r), "insert": lambda d: insert(d, r),
        "drop": lambda d: drop(d, r), "repeat": lambda d: repeat(d, r), "edge": lambda d: edge(d, r),
        "edge2": lambda d: edge(edge(d, r, 64), r, 64), "splice": lambda d: splice(d, r, other),
    }  # fmt: skip
    name = r.choice(list(kinds))
    content = kinds[name](data)
    if content and r.random() < 0.2:
        second = r.choice(("flip", "edge", "cut"))
        name, content = f"{name}+{second}", kinds[second](content)
    return name, content
