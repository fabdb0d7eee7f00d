"""What `mien recognize -o` makes, by the ending of its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mien.errors import ConfigError, shortened_path
from mien.files import check_folder, check_output, json_text, write_text
from mien.recognition import records

Kind = Literal["folder", "picture", "table", "parquet"]
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes of an annotated copy of one picture."""
TABLE_FORMATS: dict[str, Callable[[Sequence[dict[str, Any]], Sequence[str]], str]] = {
    ".csv": records.to_csv,
    ".json": lambda pictures, classes: json_text(pictures, indent=2) + "\n",
    ".jsonl": lambda pictures, classes: "".join(json_text(picture) + "\n" for picture in pictures),
}
"""Suffix of a text file of all faces -> its text, from the records of the pictures and the classes of the model."""
_RECORD = r'"path": "(\\.|[^"\\])*",\s*"width": \d+,\s*"height": \d+,\s*"faces": \['
_BEGINNINGS = {
    ".csv": re.escape("path,face,x0,y0,x1,y1,score,expression,confidence,uncertain,"),
    ".json": rf"\[\s*(\{{\s*{_RECORD}|\]\s*\Z)",
    ".jsonl": rf"\{{{_RECORD}",
}
"""Suffix of a text file of all faces -> how mien's own begin, as a regular expression."""


@dataclass(frozen=True)
class Output:
    """A file or a folder to write.

    Attributes:
        path: Its path.
        kind: `folder` of annotated copies, one annotated `picture`, a `table` in a format of TABLE_FORMATS, or
            `parquet`.
    """

    path: Path
    kind: Kind

    @classmethod
    def from_name(cls, name: str, pictures: Sequence[str], overwrite: bool = False) -> Output:
        """Returns what to write, by the ending of a name.

        Args:
            name: The name as the user gave it. One that is a folder, or ends in a slash, means a folder.
            pictures: The names of the pictures, none of which the output may replace.
            overwrite: Whether it may replace a file that mien has not written.

        Raises:
            ConfigError: The ending is unknown, the file cannot be written, it is there and mien has not written it, or
                one picture cannot hold annotated copies of several.
        """
        path, suffix = Path(name), Path(name).suffix.lower()
        if path.is_dir() or name.endswith(("/", os.sep)) or not suffix:
            check_folder(path)
            return cls(path, "folder")
        if suffix not in (*TABLE_FORMATS, ".parquet", *PICTURE_SUFFIXES):
            raise ConfigError(
                f"{shortened_path(name)} has an unknown ending: expected {', '.join((*TABLE_FORMATS, '.parquet'))} for "
                f"all faces, {', '.join(PICTURE_SUFFIXES)} for an annotated copy of one picture, or a folder; add a / "
                "to the name of a new folder"
            )
        if path.exists() and any(Path(picture).exists() and path.samefile(picture) for picture in pictures):
            raise ConfigError(
                f"{shortened_path(name)} is one of the pictures and would be replaced: choose another name"
            )
        # `mien.recognition.batch` checks whether a Parquet file is mien's own.
        check_output(path, overwrite or suffix == ".parquet", _BEGINNINGS.get(suffix, ""))
        if suffix == ".parquet":
            return cls(path, "parquet")
        if suffix in TABLE_FORMATS:
            return cls(path, "table")
        if len(pictures) != 1:
            raise ConfigError(
                f"{shortened_path(name)} holds an annotated copy of one picture, got {len(pictures):,} pictures: give "
                "a folder for their copies"
            )
        return cls(path, "picture")

    @property
    def makes_copies(self) -> bool:
        """Whether it is an annotated picture, or a folder of them."""
        return self.kind in ("folder", "picture")

    def write_table(self, pictures: Sequence[dict[str, Any]], classes: Sequence[str]) -> None:
        """Writes all faces to a text file, whole or not at all.

        Args:
            pictures: The records of the pictures, which `mien.recognition.records.to_record` makes.
            classes: The classes of the model.

        Raises:
            OSError: The file cannot be written.
        """
        write_text(self.path, TABLE_FORMATS[self.path.suffix.lower()](pictures, classes))
