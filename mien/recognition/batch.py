"""Recognises any number of pictures into Parquet files, in many processes, and resumes after an interruption."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import mien
from mien.detection import DEFAULT_DETECTOR
from mien.detection.registry import DETECTORS
from mien.errors import ConfigError, ImageError, require, shortened, shortened_path
from mien.files import printable, replaced
from mien.models.zoo import DEFAULT_MODEL, find_model
from mien.recognition import parts, photo, records
from mien.recognition.parts import Counts, Part, PartsFolder, PictureList
from mien.recognition.recognizer import Recognizer
from mien.recognition.sources import read_ahead
from mien.recognition.workers import ATTEMPTS, Outcome, in_processes
from mien.storage import LocalFolder, open_folder

PICTURES_PER_PART = 32
"""Pictures of a part of one Parquet file: few, so that all workers are busy until the end."""
ROWS_PER_GROUP = 2**16
"""Rows of a row group of the Parquet file."""

Executor = Callable[[Callable[[], Callable[[Part], Counts]], Iterable[Part]], Iterator[Outcome[Part, Counts]]]
"""Runs a function on parts, as `mien.recognition.workers.in_processes` does."""


class FaceRecognizer:
    """Recognises tables of pictures into tables of faces, for engines that send batches of a table to their workers.

    It can be pickled; each process opens the model when it needs it.

    Args:
        model: The name of a shipped model, or the path of an .onnx file that `mien export` wrote.
        detector: A name in `mien.detection.registry.DETECTORS`, or the path of a YuNet .onnx file.
        threads: CPU threads; 1 is the best if there are as many workers as cores.
        min_score: See `Recognizer`.
        thorough: See `Recognizer`.
        device: See `Recognizer`; it is looked for in each process.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        detector: str | Path = DEFAULT_DETECTOR,
        threads: int = 1,
        min_score: float | None = None,
        thorough: bool = False,
        device: str | None = None,
    ) -> None:
        self.model, self.detector, self.threads = str(model), str(detector), threads
        self.min_score, self.thorough, self.device = min_score, thorough, device

    @cached_property
    def recognizer(self) -> Recognizer:
        """The recogniser of this process.

        Raises:
            WeightsError: The model or the detector is missing, damaged, or cannot be fetched.
            ConfigError: There is no detector of that name, or the device cannot be used.
        """
        return Recognizer(self.model, self.detector, self.threads, self.min_score, self.thorough, self.device)

    @cached_property
    def schema(self) -> Any:
        """The pyarrow.Schema of the faces: `path`, `width`, `height`, `error` and the columns of `--csv`.

        A picture without faces has one row with an empty `face`. An unreadable picture has one row, and its `error`
        gives the reason.
        """
        return records.parquet_schema(records.file_columns(self.recognizer.model.classes))

    def __getstate__(self) -> dict[str, Any]:
        """Adds the content of model files, which other machines do not have."""
        names = {"model": self.model, "detector": self.detector}
        paths = {"model": find_model(self.model), "detector": Path(self.detector)}
        files = {key: paths[key].read_bytes() for key, name in names.items() if name.endswith(".onnx")}
        settings = {name: getattr(self, name) for name in ("threads", "min_score", "thorough", "device")}
        return names | settings | {"files": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("files")
        self.__dict__.update(state)
        for key, content in files.items():
            setattr(self, key, str(_local_copy(Path(state[key]), content)))

    def __call__(self, batch: Any) -> Any:
        """Recognises the pictures of a batch.

        Args:
            batch: A pyarrow.Table or RecordBatch, a pandas.DataFrame, or a dictionary of arrays. Its column `path` has
                paths or URLs. If it also has a column `bytes`, that has the content of the picture files.

        Returns:
            The faces in the form of the batch, with the columns of `schema`.

        Raises:
            ConfigError: The batch has no column `path`.
        """
        pyarrow = require("pyarrow", "batch")
        columns = batch.schema.names if hasattr(batch, "schema") else list(batch)
        if "path" not in columns:
            raise ConfigError(f"a batch needs the column path, and its columns are {shortened(', '.join(columns))}")
        rows = self._rows(_values(batch["path"]), _values(batch["bytes"]) if "bytes" in columns else None)
        if isinstance(batch, pyarrow.RecordBatch):
            return pyarrow.RecordBatch.from_pylist(rows, self.schema)
        table = pyarrow.Table.from_pylist(rows, self.schema)
        if isinstance(batch, pyarrow.Table):
            return table
        if isinstance(batch, dict):
            return {name: table[name].to_numpy() for name in table.column_names}
        return table.to_pandas()

    def table(self, paths: Sequence[str]) -> Any:
        """Recognises the pictures at paths or URLs into a pyarrow.Table with the columns of `schema`."""
        return require("pyarrow", "batch").Table.from_pylist(self._rows(paths), self.schema)

    def _rows(self, paths: Sequence[str], contents: Iterable[bytes] | None = None) -> list[dict[str, Any]]:
        """Returns the rows of pictures, whose content is given or else read."""
        pictures = zip(paths, read_ahead(paths) if contents is None else contents, strict=True)
        return [row for path, picture in pictures for row in self._rows_of_picture(path, picture)]

    def _rows_of_picture(self, name: str, picture: Path | bytes | ImageError) -> list[dict[str, Any]]:
        """Recognises a picture and returns its rows, of which there is always at least one."""
        path = printable(name)
        try:
            if isinstance(picture, ImageError):
                raise picture
            image_rgb = photo.read(picture, name=shortened_path(name))
            faces = self.recognizer(image_rgb)
        except ImageError as error:
            return [{"path": path, "error": printable(str(error))}]
        return records.to_file_rows(records.to_record(path, image_rgb, faces))


def _local_copy(file: Path, content: bytes) -> Path:
    """Returns a file with this content: the file itself, or a copy among this machine's temporary files."""
    if file.is_file() and file.read_bytes() == content:
        return file
    copy = Path(tempfile.gettempdir()) / f"mien-{hashlib.sha256(content).hexdigest()}{file.suffix}"
    if not copy.is_file() or copy.read_bytes() != content:
        with replaced(copy) as temporary:
            temporary.write_bytes(content)
    return copy


def _values(column: Any) -> list[Any]:
    """Returns the values of a column of Arrow, pandas or NumPy."""
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column)


class PartRecognizer:
    """Recognises a part of a list and writes it into a folder: the function that every executor runs.

    Args:
        faces: Opened here, in the process that runs this.
        folder: Where the parts are written.
    """

    def __init__(self, faces: FaceRecognizer, folder: PartsFolder) -> None:
        self.faces, self.folder = faces, folder
        _ = faces.schema  # opens the model

    def __call__(self, part: Part) -> Counts:
        """Recognises a part.

        Raises:
            OSError: A place of pictures cannot be reached, or the folder cannot be written.
        """
        table = self.faces.table(part.pictures)
        faces, errors = (table.num_rows - table[name].null_count for name in ("face", "error"))
        counts = Counts(len(part.pictures), faces, errors)
        self.folder.write(part.number, table, counts)
        return counts


def recognize_to_file(
    pictures: PictureList,
    output: Path,
    faces: FaceRecognizer,
    workers: int,
    on_progress: Callable[[Counts], object],
    overwrite: bool = False,
) -> Counts:
    """Recognises pictures into one Parquet file, in several processes.

    Parts that are finished stand in the folder of `parts_folder` until all are. An interrupted call is resumed by
    calling it again. The file is the same whatever the number of processes, and whether or not it was interrupted.

    Args:
        pictures: The pictures, in the order of the rows.
        output: The Parquet file.
        faces: With one thread, because the workers share the pictures.
        workers: Processes.
        on_progress: Called with the counts of all parts that are finished.
        overwrite: Whether the file may replace one that mien has not written.

    Raises:
        ConfigError: The file or the folder of parts belongs to someone else, the folder belongs to another job, or
            another process is writing there.
        DataError: A part of an interrupted call is damaged.
        OSError: The disk is full or the folder is not writable; finished parts are kept.
        MissingExtraError: pyarrow or filelock is not installed.
    """
    if not overwrite:
        _check_output(output)
    about = manifest(pictures, faces)
    folder = PartsFolder(LocalFolder(parts_folder(output)), about)
    with _sole_process(folder, output):
        total = recognize_parts(pictures, folder, faces, partial(in_processes, workers=workers), on_progress)
        _join(folder, pictures.part_count, output, faces.schema.with_metadata(parts.metadata(about)))
        folder.remove()
    return total


def recognize_to_folder(
    pictures: PictureList,
    output: str | Path,
    faces: FaceRecognizer,
    executor: Executor,
    on_progress: Callable[[Counts], object],
) -> Counts:
    """Recognises pictures into a folder of Parquet files, one for each part, on any machines.

    An interrupted call is resumed by calling it again. Each part is there once, even if two calls do the same job.

    Args:
        pictures: The list. The machines read its paths and URLs, so that all of them must see the same files there.
        output: A path or URL, which all machines write to.
        faces: With as many threads as a worker has cores.
        executor: Runs the parts, such as `functools.partial(mien.recognition.cluster.on_ray, workers=8)`.
        on_progress: Called with the counts of all parts that are finished.

    Raises:
        ConfigError: The folder belongs to another job or to someone else, or its URL cannot be opened.
        DataError: A part is damaged.
        OSError: The folder cannot be written.
        MissingExtraError: pyarrow, or a package for URLs, is not installed.
    """
    folder = PartsFolder(open_folder(output), manifest(pictures, faces))
    return recognize_parts(pictures, folder, faces, executor, on_progress)


def recognize_parts(
    pictures: PictureList,
    folder: PartsFolder,
    faces: FaceRecognizer,
    executor: Executor,
    on_progress: Callable[[Counts], object],
) -> Counts:
    """Recognises the parts of a list that a folder lacks, each into a file of its own.

    A part that fails ATTEMPTS times becomes rows with its error.

    Args:
        pictures: The list.
        folder: Where the parts are written.
        faces: The recogniser.
        executor: Runs the parts.
        on_progress: Called with the counts of all parts that are finished.

    Returns:
        The counts of all parts.

    Raises:
        ConfigError: The folder belongs to another job or to someone else.
        DataError: A part is damaged.
        OSError: The folder cannot be written.
    """
    pyarrow = require("pyarrow", "batch")
    finished = folder.open()
    total = sum(finished.values(), Counts())
    on_progress(total)
    missing = (part for part in pictures.parts() if part.number not in finished)
    for outcome in executor(partial(PartRecognizer, faces, folder), missing):
        counts = outcome.result
        if counts is None:
            part, size = outcome.task, len(outcome.task.pictures)
            rows = parts.error_rows(part, f"the part with this picture failed {ATTEMPTS} times: {outcome.error}")
            counts = Counts(size, 0, size, failed_parts=1)
            folder.write(part.number, pyarrow.Table.from_pylist(rows, faces.schema), counts)
        total += counts
        on_progress(total)
    return total


def manifest(pictures: PictureList, faces: FaceRecognizer) -> dict[str, Any]:
    """Returns what identifies a job; see `mien.recognition.parts.DIFFERENCES`.

    Raises:
        WeightsError: The model cannot be opened.
    """
    detector = faces.detector
    return {
        "mien": mien.__version__,
        "pictures": pictures.count,
        "list": pictures.digest,
        "parts": pictures.part_count,
        "pictures_per_part": pictures.pictures_per_part,
        "model": faces.model,
        "model_sha256": _sha256(find_model(faces.model)),
        "weights": faces.recognizer.model.digest,
        "detector": detector if detector in DETECTORS else _sha256(Path(detector)),
        "min_score": faces.min_score,
        "thorough": faces.thorough,
    }


def parts_folder(output: Path) -> Path:
    """Returns the folder of the parts that are finished."""
    return output.with_name(f"{output.name}.parts")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_output(output: Path) -> None:
    """Checks that no file of someone else would be replaced.

    Raises:
        ConfigError: The output exists and mien did not write it.
    """
    parquet = require("pyarrow.parquet", "batch")
    if not output.is_file():
        return
    try:
        metadata = parquet.read_metadata(output).metadata or {}
    except (OSError, ValueError):  # it is no Parquet file; pyarrow's errors are of these two
        metadata = {}
    if parts.METADATA_KEY.encode() not in metadata:
        raise ConfigError(
            f"{shortened_path(output)} exists and mien has not written it: choose another name, or add "
            "--overwrite to replace it"
        )


@contextmanager
def _sole_process(folder: PartsFolder, output: Path) -> Iterator[None]:
    """Locks the folder of parts of an output.

    Raises:
        ConfigError: The folder is someone else's, or another process is recognising into the output.
    """
    filelock = require("filelock", "batch")
    folder.check_ownership()  # before anything is written there
    folder.folder.create()
    lock = filelock.FileLock(parts_folder(output) / parts.LOCK)
    try:
        held = lock.acquire(blocking=False)
    except filelock.Timeout:
        raise ConfigError(
            f"another mien process is recognising pictures into {shortened_path(output)}: wait until it ends, or "
            "choose another output"
        ) from None
    with held:
        yield


def _join(folder: PartsFolder, count: int, output: Path, schema: Any) -> None:
    """Writes all parts, in order, into one Parquet file."""
    pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    waiting: list[Any] = []
    rows = 0
    with replaced(output) as whole, parquet.ParquetWriter(whole, schema, compression="zstd") as writer:
        for number in range(count):
            waiting.append(folder.read(number))
            rows += waiting[-1].num_rows
            if rows >= ROWS_PER_GROUP or number == count - 1:
                writer.write_table(pyarrow.concat_tables(waiting).cast(schema).combine_chunks())
                waiting, rows = [], 0
