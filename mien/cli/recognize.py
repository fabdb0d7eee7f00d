"""`mien recognize`: the faces in photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.options import (
    AsJson,
    Blur,
    DetectorName,
    Device,
    MinScore,
    Model,
    Overwrite,
    Thorough,
    Threads,
    Verbose,
    console,
    echo,
    print_data,
    print_json,
    print_log,
)
from mien.detection import DEFAULT_DETECTOR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.recognition.outputs import Output
    from mien.recognition.recognizer import Recognizer
    from mien.types import Face


def recognize(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="Pictures of any format, folders of pictures, https:// addresses, or - for standard input. For a "
            "Parquet output also patterns, lists as .txt or .parquet, and s3:// URLs.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR|FILE|URL",
            help="What its ending says: all faces as .csv, .json, .jsonl or .parquet (for any number of pictures; it "
            "resumes after an interruption), one annotated .jpg or .png, or a folder of annotated copies. With "
            "--on, or if it is a URL, a folder of Parquet files.",
        ),
    ] = None,
    blur: Blur = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per face, instead of a table.")] = False,
    model: Model = "small",
    detector: DetectorName = DEFAULT_DETECTOR,
    min_score: MinScore = None,
    thorough: Thorough = False,
    threads: Threads = None,
    device: Device = None,
    verbose: Verbose = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that write Parquet files; all cores by default.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="ray|ADDRESS",
            help="Recognise on a Ray cluster: ray for the one of RAY_ADDRESS, or else this machine; ray://HOST:10001; "
            "or HOST:PORT.",
        ),
    ] = None,
    part: Annotated[int, typer.Option(min=1, help="Pictures in each file of a folder of Parquet files.")] = 1000,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker on a cluster, such as 0.25.")] = 0,
) -> None:
    """Recognise the expression on every face in photographs."""
    from mien.cli import archive
    from mien.errors import ConfigError
    from mien.recognition.batch import FaceRecognizer
    from mien.recognition.outputs import Output
    from mien.recognition.recognizer import Recognizer
    from mien.recognition.sources import STANDARD_INPUT
    from mien.storage import is_url

    if verbose:
        print_log()
    if as_json and as_csv:
        raise ConfigError("choose one of --json and --csv")
    faces = FaceRecognizer(model, detector, 1, min_score, thorough, device)
    if on or (output and is_url(output)):
        if as_json or as_csv or not output:
            raise ConfigError(
                f"all results are written to {output or 'a folder'}: give it by -o, without --json or --csv"
            )
        end(archive.recognize_to_folder(output, photos, faces, archive.Workers(on, workers, part, gpus)))
        return
    names = _picture_names(photos, output) if not (output and output.lower().endswith(".parquet")) else photos
    target = Output.from_name(output, names, overwrite) if output else None
    if target and target.kind in ("table", "parquet") and (as_json or as_csv):
        raise ConfigError(f"all results are written to {target.path}: leave out --json and --csv")
    if blur and not (target and target.makes_copies):
        raise ConfigError(
            "--blur is for annotated copies: give a folder, or a .jpg or .png file for one picture, by -o"
        )
    if target and target.kind == "parquet":
        if STANDARD_INPUT in names:
            raise ConfigError("a Parquet file takes no standard input: give files, or use .csv, .json or .jsonl")
        unreadable = archive.recognize_to_file(target.path, names, faces, workers or threads, overwrite)
    else:
        recognizer = Recognizer(model, detector, threads, min_score, thorough, device)
        unreadable = _recognize(names, target, blur, as_json, as_csv, recognizer)
    end(unreadable)


def end(unreadable: int) -> None:
    """Ends a command with exit code 2 if some pictures could not be read or written; each was named before."""
    if unreadable:
        raise typer.Exit(2)


def _picture_names(names: Sequence[str], output: str | None) -> list[str]:
    """Returns the names with the pictures below each folder in its place, but for those in a folder for the copies."""
    from mien.errors import ConfigError
    from mien.recognition.sources import STANDARD_INPUT, is_file_name

    if names.count(STANDARD_INPUT) > 1:
        raise ConfigError("- is standard input, which can be read once: give it once")
    if not any(is_file_name(name) and Path(name).is_dir() for name in names):
        return list(names)
    from mien.data.pictures import find_pictures

    copies = Path(output).resolve() if output else None
    pictures: list[str] = []
    for name in names:
        if not is_file_name(name) or not Path(name).is_dir():
            pictures.append(name)
            continue
        has_copies = copies and Path(name).resolve() in copies.parents
        found = find_pictures([Path(name)])
        pictures += [str(path) for path in found if not (has_copies and copies in path.resolve().parents)]
    return pictures


def _recognize(
    names: Sequence[str],
    target: "Output | None",
    blur: bool,
    as_json: bool,
    as_csv: bool,
    recognizer: "Recognizer",
) -> int:
    """Recognises pictures one after the other, and prints or writes the results -> how many failed."""
    from mien.errors import ImageError
    from mien.recognition import records
    from mien.recognition.sources import read_named

    copies = _Copies(target, names, blur) if target and target.makes_copies else None
    results: list[dict[str, Any]] = []
    failed = 0
    for name in names:
        try:
            image_rgb = read_named(name)
            faces = recognizer(image_rgb)
        except ImageError as error:
            echo(f"mien: {error}", err=True)
            failed += 1
            continue
        results.append(records.to_record(name, image_rgb, faces))
        if copies and not copies.write(image_rgb, faces, name):
            failed += 1
    classes = recognizer.model.classes
    written = copies.written if copies else []
    if target and target.kind == "table" and results:  # a mistyped name must not replace the table of an earlier run
        target.write_table(results, classes)
        written = [target.path]
    if as_json:
        print_json(results)
    elif as_csv:
        print_data(records.to_csv(results, classes))
    else:
        if results:
            console().print(records.to_table(results))
        for path in written:
            echo(f"written: {path}")
    return failed


class _Copies:
    """Annotated copies in a folder, or the one in a file."""

    def __init__(self, target: "Output", names: Sequence[str], blur: bool) -> None:
        self._target, self._blur = target, blur
        self._is_disk_full = False
        self.written: list[Path] = []
        if target.kind == "folder":
            target.path.mkdir(parents=True, exist_ok=True)
        # A copy never replaces a given photo.
        self._reserved = {path.parent.resolve() / path.name for path in map(Path, names)}

    def write(self, image_rgb: "NDArray[np.uint8]", faces: "Sequence[Face]", name: str) -> bool:
        """Writes a copy, and says so if that fails -> whether it was written."""
        from mien.files import is_disk_error
        from mien.recognition import draw
        from mien.recognition.sources import stem

        if self._is_disk_full:
            return False
        path, image = self._target.path, draw.annotate(image_rgb, faces, blur=self._blur)
        try:
            if self._target.kind == "folder":
                path = draw.save(image, path, stem(name), self._reserved)
            else:
                draw.save_as(image, path)
        except OSError as error:
            self._is_disk_full = is_disk_error(error)
            rest = ", and no other copy is tried" if self._is_disk_full else ""
            echo(
                f"mien: the annotated copy of {name} cannot be written to {self._target.path}: "
                f"{error.strerror or error}{rest}",
                err=True,
            )
            return False
        self.written.append(path)
        self._reserved.add(path.parent.resolve() / path.name)
        return True
