"""Numbers and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal

SPACE = "\u00a0"
"""Keeps a number and its unit on one line."""


def percent(fraction: str | float | Decimal, digits: int = 2) -> str:
    """A fraction in per cent."""
    return f"{rounded(fraction, digits)}{SPACE}%"


def interval(row: Mapping[str, str | float], name: str = "accuracy") -> str:
    """A metric with its interval."""
    low, high = (row[end] for end in (f"{name}_low", f"{name}_high"))
    if name == "accuracy" and "n" in row:
        low, high = (restored(end, int(row["n"])) for end in (low, high))
    return f"{percent(row[name])} ({rounded(low, 1)}{SPACE}to{SPACE}{rounded(high, 1)})"


def restored(accuracy: str | float, n: int) -> str | float:
    """The count over n that rounds to an accuracy of four digits, where there is one: it can be rounded again."""
    exact = round(float(accuracy) * n) / n
    return exact if f"{exact:.4f}" == f"{float(accuracy):.4f}" else accuracy


def rounded(fraction: str | float | Decimal, digits: int) -> Decimal:
    """A hundred times a fraction, halves rounded up: a table holds 0.7055, which is not exact in binary."""
    return (100 * Decimal(str(fraction))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def millions(number: int) -> str:
    """A number in millions."""
    return f"{number / 1e6:.0f} M"


def count(text: str) -> str:
    """A published count: thousands are separated in an exact one; a rounded one stays as it is."""
    return f"{int(text):,}" if text.isdigit() else text


def difference(parameters: int, published_m: float) -> str:
    """The relative difference of a count from a published number of millions."""
    text = f"{parameters / 1e6 / published_m - 1:+.1%}".replace("%", f"{SPACE}%")
    return "0" if text[1:] == f"0.0{SPACE}%" else text


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A Markdown table; `right` holds the columns that are aligned to the right."""
    aligned = set(right)
    rule = ["---:" if column in aligned else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
