"""A list of pictures in parts, and the folder in which each part of the result is written under its own name."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import IO, Any

from mien.errors import ConfigError, DataError, error_text, require, shortened, shortened_path
from mien.files import printable
from mien.storage import Folder

MANIFEST = "_manifest.json"
"""The file that says what the parts of a folder are; programs that read a folder of Parquet files skip names with _."""
LOCK = "_lock"
"""The file that a process locks while it writes into a local folder."""
METADATA_KEY = "mien"
"""The key of the JSON object that mien writes into the metadata of its Parquet files."""
_PART = re.compile(r"part-([0-9]{9,})\.parquet")
_LEFTOVERS = re.compile(rf"{LOCK}|\.mien-[0-9a-f]{{32}}.*")  # a process killed at its start leaves these
_FOOTER_BYTES = 2**16
"""The end of a part that holds its metadata: a description of about 20 columns takes a few thousand bytes."""
_READERS = 16

DIFFERENCES = {
    "pictures": "other pictures",
    "list": "other pictures",
    "pictures_per_part": "parts of another size",
    "model_sha256": "another model",
    "detector": "another detector",
    "min_score": "another lowest score",
    "thorough": "a search that is thorough or not",
    "mien": "another version of mien",
}
"""Key of a manifest -> what differs if the values of a folder and a job differ."""


@dataclass(frozen=True)
class Part:
    """Some of the pictures of a list, in order.

    Attributes:
        number: Counts from 0.
        pictures: Paths or URLs.
    """

    number: int
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """How much has been recognised.

    Attributes:
        pictures: Pictures, including those that could not be read.
        faces: Faces.
        errors: Pictures that have an error instead of faces.
        failed_parts: Parts that could not be recognised at all; all of their pictures are in `errors`.
    """

    pictures: int = 0
    faces: int = 0
    errors: int = 0
    failed_parts: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


class PictureList:
    """Paths or URLs of any number of pictures, kept in a temporary file, one line a part.

    The pictures are listed once, so the list stays the same even if files come and go.

    Attributes:
        count: The number of pictures.
        digest: The SHA-256 of their names.
        pictures_per_part: All parts but the last have so many pictures.

    Args:
        pictures: Paths or URLs; consumed one by one.
        pictures_per_part: At least 1.

    Raises:
        DataError: There is no picture.
        OSError: The temporary file cannot be written.
    """

    def __init__(self, pictures: Iterable[str], pictures_per_part: int) -> None:
        self.count, self.pictures_per_part = 0, pictures_per_part
        self._lines: IO[str] = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - lives as long as this
        digest = hashlib.sha256()
        part: list[str] = []
        for picture in pictures:
            digest.update(picture.encode("utf-8", "surrogateescape") + b"\0")
            part.append(picture)
            if len(part) == pictures_per_part:
                self._append(part)
        if part:
            self._append(part)
        if not self.count:
            raise DataError("there is no picture to recognise: the list is empty")
        self.digest = digest.hexdigest()

    def _append(self, part: list[str]) -> None:
        self._lines.write(f"{json.dumps(part)}\n")
        self.count += len(part)
        part.clear()

    @property
    def part_count(self) -> int:
        """The number of parts."""
        return -(-self.count // self.pictures_per_part)

    def parts(self) -> Iterator[Part]:
        """Yields the parts in order, reading one at a time."""
        self._lines.seek(0)
        for number, line in enumerate(self._lines):
            yield Part(number, tuple(json.loads(line)))


@dataclass(frozen=True)
class PartsFolder:
    """A folder with a manifest and a Parquet file for each part that is finished. It can be pickled.

    Attributes:
        folder: Where it is.
        manifest: What is written there: keys of DIFFERENCES, and others for information. The same place is refused to
            a job that differs in one of those keys.
    """

    folder: Folder
    manifest: Mapping[str, Any]

    def check_ownership(self) -> None:
        """Checks that the folder does not exist, is empty, or has a manifest of mien.

        Raises:
            ConfigError: It holds files of someone else.
        """
        names = [name for name in self.folder.names() if not _LEFTOVERS.fullmatch(name)]
        if names and MANIFEST not in names:
            raise ConfigError(
                f"the folder {shortened_path(self.folder)} holds {shortened(names[0])} but no {MANIFEST}, so mien did "
                "not make it: move it away, or choose another output"
            )

    def open(self) -> dict[int, Counts]:
        """Creates the folder and its manifest, or checks that both belong to this job.

        Returns:
            The number of each part that is finished -> its counts. A failed part is not among them: it is tried again.

        Raises:
            ConfigError: The folder belongs to someone else or to another job, or its manifest is damaged.
            DataError: A part is damaged.
            OSError: The folder cannot be read or written.
        """
        self.check_ownership()
        names = self.folder.names()
        if MANIFEST not in names:
            self.folder.create()
            self.folder.write(MANIFEST, (json.dumps(dict(self.manifest), indent=2) + "\n").encode())
            return {}
        self._check_manifest()
        numbers = [int(match[1]) for match in map(_PART.fullmatch, names) if match]
        with ThreadPoolExecutor(_READERS) as readers:  # each takes a request if the folder is remote
            counts = dict(zip(numbers, readers.map(self._counts, numbers), strict=True))
        return {number: of_part for number, of_part in counts.items() if not of_part.failed_parts}

    def write(self, number: int, table: Any, counts: Counts) -> None:
        """Writes a part.

        Args:
            number: The part's number.
            table: A pyarrow.Table.
            counts: Counts of the part, which are stored in it.

        Raises:
            OSError: The folder cannot be written.
        """
        self.folder.write(_name(number), to_parquet(table, asdict(counts)))

    def read(self, number: int) -> Any:
        """Reads a part as pyarrow.Table.

        Raises:
            DataError: It is damaged or missing.
        """
        pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
        return self._reading(number, lambda: parquet.read_table(pyarrow.BufferReader(self.folder.read(_name(number)))))

    def remove(self) -> None:
        """Removes what mien wrote, and the folder if nothing else is in it."""
        names = self.folder.names()
        self.folder.remove([name for name in names if _PART.fullmatch(name) or name in (MANIFEST, LOCK)])

    def _counts(self, number: int) -> Counts:
        pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")

        def read() -> Counts:
            footer = self.folder.read(_name(number), last=_FOOTER_BYTES)
            stored = parquet.read_metadata(pyarrow.BufferReader(footer)).metadata
            return Counts(**json.loads(stored[METADATA_KEY.encode()]))

        counts: Counts = self._reading(number, read)
        return counts

    def _reading(self, number: int, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, ValueError, TypeError, KeyError) as error:  # pyarrow's errors are of the first two
            raise DataError(
                f"part {_name(number)} in {shortened_path(self.folder)} is damaged ({shortened(error_text(error))}): "
                "remove that file and run the same command again"
            ) from None

    def _check_manifest(self) -> None:
        where = f"{MANIFEST} in {shortened_path(self.folder)}"
        try:
            stored = json.loads(self.folder.read(MANIFEST))
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or not stored.keys() >= DIFFERENCES.keys():
            raise ConfigError(
                f"{where} is damaged, so it is unknown what the folder holds: remove the folder to start again, or "
                "choose another output"
            )
        for key, difference in DIFFERENCES.items():
            if stored[key] != self.manifest[key]:
                raise ConfigError(
                    f"{shortened_path(self.folder)} holds results of {difference} ({key} is {shortened(stored[key])} "
                    f"there, and {shortened(self.manifest[key])} now): remove the folder to start again, or choose "
                    "another output"
                )


def metadata(about: Mapping[str, Any]) -> dict[str, str]:
    """Returns the metadata of a Parquet file that mien writes."""
    return {METADATA_KEY: json.dumps(dict(about))}


def to_parquet(table: Any, about: Mapping[str, Any]) -> bytes:
    """Encodes a pyarrow.Table as Parquet, with a JSON object in its metadata."""
    pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    content = pyarrow.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata(metadata(about)), content, compression="zstd")
    encoded: bytes = content.getvalue().to_pybytes()
    return encoded


def error_rows(part: Part, error: str) -> list[dict[str, Any]]:
    """Returns the rows of a part that failed: one for each picture, with the reason."""
    return [{"path": printable(picture), "error": printable(error)} for picture in part.pictures]


def _name(number: int) -> str:
    return f"part-{number:09}.parquet"
