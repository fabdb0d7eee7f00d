"""Tables of measurements as CSV files."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from mien.errors import DataError
from mien.evaluation import tables


@dataclass(frozen=True)
class Speed:
    name: str
    threads: int
    seconds: float
    spread: float | None

    @property
    def key(self):
        return self.name, self.threads


def test_load_returns_added_rows(tmp_path):
    table = tmp_path / "new" / "speed.csv"
    assert tables.load(table, Speed) == []
    rows = [Speed("a, b", 1, 0.12345, None), Speed("c", 2, 3.0, 0.5)]
    tables.add(table, *rows)
    assert tables.load(table, Speed) == [Speed("a, b", 1, 0.1235, None), rows[1]]


def test_add_replaces_the_row_with_the_same_key_in_place(tmp_path):
    table = tmp_path / "speed.csv"
    for row in (Speed("a", 1, 1.0, None), Speed("b", 1, 1.0, None), Speed("a", 1, 2.0, None)):
        tables.add(table, row)
    assert tables.load(table, Speed) == [Speed("a", 1, 2.0, None), Speed("b", 1, 1.0, None)]


@pytest.mark.parametrize(("old", "new"), [(",1,", ",one,"), ("threads", "cores"), (",1.0000,", ",,")])
def test_add_to_a_damaged_table_names_the_row_and_writes_nothing(tmp_path, old, new):
    table = tmp_path / "speed.csv"
    tables.add(table, Speed("a", 1, 1.0, 1.0))
    text = table.read_text().replace(old, new)
    table.write_text(text)
    with pytest.raises(DataError, match=r"row 2 of .*speed\.csv cannot be read"):
        tables.add(table, Speed("b", 1, 1.0, None))
    assert table.read_text() == text


def test_load_of_a_binary_file_raises(tmp_path):
    table = tmp_path / "speed.csv"
    table.write_bytes(b"\xdb\xff\x00")
    with pytest.raises(DataError, match=r"speed\.csv must be a CSV file, and reading it failed: "):
        tables.load(table, Speed)


def test_concurrent_adds_keep_every_row(tmp_path):
    path = tmp_path / "speed.csv"

    def add_ten(writer):
        for i in range(10):
            tables.add(path, Speed(f"{writer}-{i}", 1, 1.0, None))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_ten, range(4)))
    assert {row.name for row in tables.load(path, Speed)} == {f"{writer}-{i}" for writer in range(4) for i in range(10)}
    assert list(tmp_path.iterdir()) == [path]
