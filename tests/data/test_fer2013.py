"""FER2013's CSV format: the same data from every kind of file, and errors that name the row."""

from __future__ import annotations

import gc
import gzip
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.data import FaceDataset, fer2013, load
from mien.data.fer2013 import PUBLISHED_COUNTS, check_splits
from mien.errors import DataError
from mien.labels import EXPRESSIONS, USAGES
from tests.conftest import Row, WriteRows


def check(dataset: FaceDataset, rows: list[Row]) -> None:
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images, np.stack([row.pixels for row in rows]))
    assert dataset.targets.tolist() == [row.emotion for row in rows]
    assert [list(USAGES)[split] for split in dataset.splits] == [row.usage for row in rows]
    assert dataset.index.tolist() == list(range(len(rows)))


def pack(csv_file: Path, archive: Path, member: str = "fer2013/fer2013.csv") -> Path:
    """Packs the CSV file like the downloads, after other files."""
    note = csv_file.with_name("note.txt")
    note.write_text("not the data")
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.write(note, "__MACOSX/fer2013/._fer2013.csv")
            packed.write(note, "__MACOSX/fer2013.csv")
            packed.write(note, "fer2013/README")
            packed.write(csv_file, member)
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as packed:
            packed.add(note, "fer2013/._fer2013.csv")
            packed.add(note, "fer2013/README")
            packed.add(csv_file, member)
    return archive


def error_of(path: Path) -> str:
    """Reads a damaged file, with warnings as errors -> the message of its DataError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as caught:
            load(path, cache=False)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_csv_file(fer2013_csv: Path, rows: list[Row]) -> None:
    dataset = load(fer2013_csv, cache=False)
    check(dataset, rows)
    assert (dataset.path, dataset.format, dataset.size) == (str(fer2013_csv), "csv", 48)


def test_icml_csv_with_other_column_order_and_spaces(tmp_path: Path, rows: list[Row], write_rows: WriteRows) -> None:
    path = write_rows(tmp_path / "icml_face_data.csv", rows, ("emotion", " Usage", " pixels"))
    check(load(path, cache=False), rows)


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "fer2013.tgz", "fer2013.tar", "archive.zip", "FER2013.ZIP"])
def test_archive_of_each_kind(fer2013_csv: Path, rows: list[Row], name: str) -> None:
    dataset = load(pack(fer2013_csv, fer2013_csv.with_name(name)), cache=False)
    check(dataset, rows)
    assert dataset.format == "archive"


def test_archive_with_other_csv_name_and_case(fer2013_csv: Path, rows: list[Row]) -> None:
    check(load(pack(fer2013_csv, fer2013_csv.with_name("a.zip"), "ICML_Face_Data.CSV"), cache=False), rows)


def test_gzipped_csv_file(fer2013_csv: Path, rows: list[Row]) -> None:
    path = fer2013_csv.with_name("fer2013.csv.gz")
    path.write_bytes(gzip.compress(fer2013_csv.read_bytes()))
    check(load(path, cache=False), rows)


def test_csv_with_upper_case_suffix_byte_order_mark_and_blank_lines(fer2013_csv: Path, rows: list[Row]) -> None:
    path = fer2013_csv.with_name("FER2013.CSV")
    path.write_bytes(b"\xef\xbb\xbf" + fer2013_csv.read_bytes() + b"\r\n\r\n")
    check(load(path, cache=False), rows)


GOOD = " ".join(["7"] * 2304)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"0,{GOOD} 7,Training", "expected 2304 pixels (48 x 48), got 2305"),
        (f"0,{GOOD[2:]},Training", "expected 2304 pixels (48 x 48), got 2303"),
        ("0,,Training", "expected 2304 pixels (48 x 48), got 0"),
        ("0, ,Training", "expected 2304 pixels (48 x 48), got 0"),
        (f"7,{GOOD},Training", "emotion must be 0..6, got 7"),
        (f"-1,{GOOD},Training", "emotion must be 0..6, got -1"),
        (f"²,{GOOD},Training", "emotion must be 0..6, got ²"),
        (f"happy,{GOOD},Training", "emotion must be 0..6, got happy"),
        (f",{GOOD},Training", "emotion must be 0..6, got nothing"),
        (f"0,{GOOD[:-1]}x,Training", "pixels must be 0..255 separated by spaces, got x"),
        (f"0,{GOOD} x,Training", "pixels must be 0..255 separated by spaces, got x"),
        (f"0,x {GOOD},Training", "pixels must be 0..255 separated by spaces, got x"),
        (f"0,7.5 {GOOD[2:]},Training", "pixels must be 0..255 separated by spaces, got 7.5"),
        (f"0,-7 {GOOD[2:]},Training", "pixels must be 0..255 separated by spaces, got -7"),
        (f"0,²5 {GOOD[2:]},Training", "pixels must be 0..255 separated by spaces, got ²5"),
        (f"0,{'é' * 5000},Training", f"got {'é' * 80}... in"),
        (f"0,256 {GOOD[2:]},Training", "pixels must be 0..255, got 256"),
        (f"0,4294967303 {GOOD[2:]},Training", "pixels must be 0..255, got 4294967303"),
        (f"0,{'9' * 30} {GOOD[2:]},Training", "pixels must be 0..255, got"),
        (f"0,{GOOD},Test", "Usage must be Training, PublicTest, PrivateTest, got Test"),
        (f"0,{GOOD},", "Usage must be Training, PublicTest, PrivateTest, got nothing"),
        (f"0,{GOOD}", "expected 3 columns, got 2"),
    ],
)
def test_wrong_row_is_named(fer2013_csv: Path, line: str, expected: str) -> None:
    """The header is row 1, as in an editor; the wrong row follows four good ones."""
    lines = fer2013_csv.read_text().splitlines()
    fer2013_csv.write_text("\n".join([*lines[:5], line, *lines[5:]]), encoding="utf-8")
    sentence = error_of(fer2013_csv)
    assert expected in sentence
    assert "row 6 of fer2013.csv" in sentence


def test_damaged_lzma_archive(fer2013_csv: Path) -> None:
    archive = fer2013_csv.with_name("fer2013.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as packed:
        packed.write(fer2013_csv, "fer2013.csv")
    whole = bytearray(archive.read_bytes())
    whole[60:600] = bytes(540)
    archive.write_bytes(whole)
    assert "fer2013.zip is damaged or incomplete" in error_of(archive)


def test_wrong_row_in_an_archive_is_named_with_its_member(fer2013_csv: Path) -> None:
    fer2013_csv.write_text(f"emotion,pixels,Usage\n9,{GOOD},Training\n")
    sentence = error_of(pack(fer2013_csv, fer2013_csv.with_name("fer2013.tar.gz")))
    assert "got 9 in row 2 of fer2013.tar.gz:fer2013/fer2013.csv" in sentence


@pytest.mark.parametrize("header", ["emotion,Usage", "pixels,Usage", "a,b,c", GOOD])
def test_missing_column(fer2013_csv: Path, header: str) -> None:
    fer2013_csv.write_text(f"{header}\n0,{GOOD}\n")
    sentence = error_of(fer2013_csv)
    assert "must have the columns emotion, pixels and Usage" in sentence
    assert len(sentence) < 200


def test_empty_file_and_file_with_only_a_header(fer2013_csv: Path) -> None:
    fer2013_csv.write_text("")
    assert "got an empty file" in error_of(fer2013_csv)
    fer2013_csv.write_text("emotion,pixels,Usage\n")
    assert "no rows" in error_of(fer2013_csv)


def test_csv_truncated_within_a_row(fer2013_csv: Path) -> None:
    fer2013_csv.write_bytes(fer2013_csv.read_bytes()[:-3000])
    assert "row 57 of fer2013.csv; is the file cut off?" in error_of(fer2013_csv)


def test_csv_with_invalid_utf8_or_unclosed_quote(fer2013_csv: Path) -> None:
    whole = fer2013_csv.read_bytes()
    fer2013_csv.write_bytes(whole[:50_000] + b"\xff\xfe" + whole[50_000:])
    assert "is damaged or incomplete" in error_of(fer2013_csv)
    start = whole.index(b"\n", 50_000) + 1
    fer2013_csv.write_bytes(whole[:start] + b'"' + whole[start:])
    assert "is damaged or incomplete" in error_of(fer2013_csv)


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "fer2013.zip", "fer2013.tar", "fer2013.csv.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.98])
def test_truncated_archive(fer2013_csv: Path, name: str, kept: float) -> None:
    archive = fer2013_csv.with_name(name)
    if name == "fer2013.csv.gz":
        archive.write_bytes(gzip.compress(fer2013_csv.read_bytes()))
    else:
        pack(fer2013_csv, archive)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * kept)])
    sentence = error_of(archive)
    # A plain tar has no checksum, so its rows just end early; a .csv.gz of 0 bytes is an empty file.
    assert any(words in sentence for words in ("damaged or incomplete", "is the file cut off", "an empty file"))
    if name == "fer2013.tar.gz" and kept == 0.5:
        assert "reading stopped after 2" in sentence


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "fer2013.zip"])
def test_archive_with_damaged_content(fer2013_csv: Path, name: str) -> None:
    """No compressed block starts with these bytes, so decompression stops with an error."""
    archive = pack(fer2013_csv, fer2013_csv.with_name(name))
    data = bytearray(archive.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = b"\xff" * 5000
    archive.write_bytes(data)
    sentence = error_of(archive)
    assert f"{name}:fer2013/fer2013.csv" in sentence


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "fer2013.zip"])
def test_archive_without_the_csv(fer2013_csv: Path, name: str) -> None:
    archive = pack(fer2013_csv, fer2013_csv.with_name(name), "other.csv")
    assert "holds none of fer2013.csv, icml_face_data.csv" in error_of(archive)


@pytest.mark.parametrize("name", ["fer2013.tar.gz", "fer2013.zip"])
def test_archive_of_pictures_asks_to_unpack_it(fer2013_csv: Path, name: str) -> None:
    archive = pack(fer2013_csv, fer2013_csv.with_name(name), "train/happy/Training_1.jpg")
    assert "unpack it" in error_of(archive)


def test_encrypted_zip(fer2013_csv: Path) -> None:
    """Python cannot write an encrypted archive, so the test sets the flag in both headers."""
    archive = fer2013_csv.with_name("fer2013.zip")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(fer2013_csv, "fer2013.csv")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    assert "cannot be unpacked" in error_of(archive)


def test_unreadable_file(fer2013_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    assert "cannot be read: Permission denied; check its permissions" in error_of(fer2013_csv)


def published(swapped: bool) -> FaceDataset:
    """Makes faces of one pixel, with the published number of each class in each split."""
    names = ("training", "private", "public") if swapped else ("training", "public", "private")
    counts = np.array([PUBLISHED_COUNTS[name] for name in names])
    n = counts.sum()
    return FaceDataset(
        images=np.zeros((n, 1, 1), np.uint8),
        targets=np.concatenate([np.repeat(np.arange(7), row) for row in counts]),
        splits=np.repeat(np.arange(3), counts.sum(axis=1)).astype(np.int8),
        index=np.arange(n),
        path="fer2013.csv",
    )


def test_swapped_splits_raise() -> None:
    check_splits(published(swapped=False))
    with pytest.raises(DataError, match=r"the splits of fer2013\.csv are swapped: its public rows"):
        check_splits(published(swapped=True))


def test_file_with_swapped_splits(
    tmp_path: Path, rows: list[Row], write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"training": (4,) * 7, "public": (1,) * 7, "private": (2,) * 7}
    monkeypatch.setattr("mien.data.fer2013.PUBLISHED_COUNTS", counts)
    one_public = [*rows[:35], *rows[42:]]
    check(load(write_rows(tmp_path / "right.csv", one_public), cache=False), one_public)
    other = {"Training": "Training", "PublicTest": "PrivateTest", "PrivateTest": "PublicTest"}
    path = write_rows(tmp_path / "swapped.csv", [row._replace(usage=other[row.usage]) for row in one_public])
    assert "are swapped" in error_of(path)


def test_csv_with_class_names(tmp_path: Path, rows: list[Row], write_rows: WriteRows) -> None:
    names = ("bored", "engaged", "half asleep")
    named = [row._replace(emotion=names[row.emotion % 3]) for row in rows]  # type: ignore[arg-type]
    dataset = load(write_rows(tmp_path / "faces.csv", named), cache=False)
    assert dataset.classes == names
    assert dataset.targets.tolist() == [row.emotion % 3 for row in rows]


def test_csv_with_names_of_the_seven_keeps_fer2013s_order(
    tmp_path: Path, rows: list[Row], write_rows: WriteRows
) -> None:
    named = [row._replace(emotion=EXPRESSIONS[row.emotion].upper()) for row in rows]  # type: ignore[arg-type]
    check(load(write_rows(tmp_path / "faces.csv", named), cache=False), rows)


@pytest.mark.parametrize("label", ["3", "", "x" * 61])
def test_csv_with_a_wrong_class_name(tmp_path: Path, rows: list[Row], write_rows: WriteRows, label: str) -> None:
    named = [row._replace(emotion=label if i == 4 else "bored") for i, row in enumerate(rows)]  # type: ignore[arg-type]
    sentence = error_of(write_rows(tmp_path / "faces.csv", named))
    assert f"emotion must be a class name, as in the rows before, got {label or 'nothing'} in row 6" in sentence


def test_real_counts_equal_published_ones(real_dataset: FaceDataset) -> None:
    assert len(real_dataset) == 35_887
    assert {split: tuple(row.values()) for split, row in real_dataset.counts().items()} == PUBLISHED_COUNTS
    assert tuple(real_dataset.counts()["private"]) == EXPRESSIONS


def test_real_pixels_have_published_mean(real_dataset: FaceDataset) -> None:
    """129.4 and 65.1 of 255, over the training faces."""
    histogram = sum(np.bincount(part.ravel(), minlength=256) for part in real_dataset.split("training").images)
    values = np.arange(256)
    mean = np.average(values, weights=histogram)
    assert mean == pytest.approx(129.4, abs=0.1)
    assert np.average((values - mean) ** 2, weights=histogram) ** 0.5 == pytest.approx(65.1, abs=0.1)


@pytest.mark.parametrize(
    "content", [b"", b"emotion,pixels,Usage\n", b"a,b\n1,2\n", b"\xff\xff", b"emotion,pixels,Usage\n9,1,x"]
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["csv", "csv.gz"])
def test_unreadable_file_is_closed(tmp_path: Path, content: bytes, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / ("fer2013.csv" if compress is bytes else "fer2013.csv.gz")
    path.write_bytes(compress(content))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(DataError):
            fer2013.read(path)
        gc.collect()
    assert not [str(warning.message) for warning in caught]
