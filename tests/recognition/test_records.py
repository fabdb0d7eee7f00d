"""Records, rows, CSV, Parquet and the table: their keys and columns must not change."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow
import pytest
from rich.console import Console

from mien.files import printable
from mien.recognition import records
from mien.types import Box, Expression, Face

CLASSES = ("bored", "engaged")


def face(engaged: float, uncertain: bool = False) -> Face:
    expression = Expression({"bored": 1 - engaged, "engaged": engaged}, uncertain)
    return Face(Box(1.004, 2, 30, 40), {"nose": (10.126, 20)}, 0.91234567, expression)


@pytest.fixture
def record() -> dict[str, object]:
    faces = [face(0.7), face(0.45, uncertain=True)]
    return records.to_record("a b.jpg", np.zeros((60, 80, 3), np.uint8), faces)


def test_json_of_a_record(record: dict[str, object]) -> None:
    first = {
        "box": [1.0, 2, 30, 40],
        "score": 0.912346,
        "expression": "engaged",
        "confidence": 0.7,
        "uncertain": False,
        "probabilities": {"bored": 0.3, "engaged": 0.7},
        "landmarks": {"nose": [10.13, 20]},
    }
    parsed = json.loads(json.dumps(record))
    assert list(parsed) == ["path", "width", "height", "faces"]
    assert (parsed["path"], parsed["width"], parsed["height"]) == ("a b.jpg", 80, 60)
    assert parsed["faces"][0] == first
    assert list(parsed["faces"][0]) == list(first)


def test_csv_of_records(record: dict[str, object]) -> None:
    without_faces = records.to_record("b.jpg", np.zeros((6, 8, 3), np.uint8), [])
    assert records.to_csv([record, without_faces], CLASSES).splitlines() == [
        "path,face,x0,y0,x1,y1,score,expression,confidence,uncertain,bored,engaged",
        "a b.jpg,1,1.0,2,30,40,0.912346,engaged,0.7,false,0.3,0.7",
        "a b.jpg,2,1.0,2,30,40,0.912346,bored,0.55,true,0.55,0.45",
        "b.jpg,,,,,,,,,,,",
    ]


def test_rows_have_the_named_columns(record: dict[str, object]) -> None:
    rows = records.to_rows(record)
    assert [tuple(row) for row in rows] == [records.column_names(CLASSES)] * 2
    assert [row["face"] for row in rows] == [1, 2]


def test_parquet_schema_has_a_type_for_every_column() -> None:
    schema = records.parquet_schema((*records.column_names(CLASSES), "time_s", "frame", "track", "width", "error"))
    types = {field.name: str(field.type) for field in schema}
    assert types == {
        **{"path": "string", "face": "int32"},
        **dict.fromkeys(("x0", "y0", "x1", "y1", "score"), "float"),
        **{"expression": "string", "confidence": "float", "uncertain": "bool"},
        **{"bored": "float", "engaged": "float"},
        **{"time_s": "double", "frame": "int32", "track": "int32", "width": "int32", "error": "string"},
    }
    assert pyarrow.Table.from_pylist([{"path": "a", "bored": 0.5}], schema).num_rows == 1


def test_csv_line_quotes_text_and_writes_none_as_empty() -> None:
    assert records.csv_line(["a,b", None, True, 0.5, -1.5]) == '"a,b",,true,0.5,-1.5\n'


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ('a"b', '"a""b"'),
        ("a\rb", '"a\rb"'),
        ("a\nb", '"a\nb"'),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("'=1", "''=1"),
        ('=HYPERLINK("a",1)', '"\'=HYPERLINK(""a"",1)"'),
        ("a\udce9", "a\\xe9"),
        ("a\ud800", "a\\ud800"),
    ],
)
def test_csv_cell_is_no_formula_and_can_be_read_back(text: str, cell: str) -> None:
    assert records.csv_cell(text) == cell
    ((read,),) = csv.reader(io.StringIO(cell, newline=""))
    assert read.removeprefix("'") == printable(text)


def test_table_shows_the_two_most_probable_expressions(record: dict[str, object]) -> None:
    console = Console(width=100, file=io.StringIO())
    console.print(records.to_table([record, records.to_record("b.jpg", np.zeros((6, 8, 3), np.uint8), [])]))
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert "a b.jpg 1 1 2 30 40 engaged 70% bored 30%" in lines
    assert "2 1 2 30 40 bored 55%, uncertain engaged 45%" in lines
    assert "b.jpg - no face" in lines


def test_table_of_a_model_with_one_class() -> None:
    only = Face(Box(0, 0, 8, 8), {}, 1.0, Expression({"smile": 1.0}))
    console = Console(width=100, file=io.StringIO())
    console.print(records.to_table([records.to_record("a.jpg", np.zeros((8, 8, 3), np.uint8), [only])]))
    assert "smile 100%" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("old", "new"), [("flat", "to_rows"), ("columns", "column_names")])
def test_old_names_are_deprecated(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"use mien\.recognition\.records\.{new}"):
        assert getattr(records, old) is getattr(records, new)


def test_table_mentions_cropped_faces_where_a_small_square_picture_has_no_face() -> None:
    console = Console(width=120, file=io.StringIO())
    sizes = {"crop.png": (48, 48), "large.png": (480, 480), "strip.png": (48, 96)}
    empty = [records.to_record(name, np.zeros((*size, 3), np.uint8), []) for name, size in sizes.items()]
    console.print(records.to_table(empty))
    hints = [line.split()[0] for line in console.file.getvalue().splitlines() if "--detector none" in line]  # type: ignore[attr-defined]
    assert hints == ["crop.png"]


def test_table_says_that_the_whole_picture_was_taken(record: dict[str, object]) -> None:
    console = Console(width=120, file=io.StringIO())
    (face, *_) = record["faces"]  # type: ignore[misc]
    console.print(records.to_table([{**record, "faces": [{**face, "score": 0.0}]}]))
    assert "the whole picture" in console.file.getvalue()  # type: ignore[attr-defined]
