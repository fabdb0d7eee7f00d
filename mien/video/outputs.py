"""The files that grow while a video is recognised: its annotated copy, lines of text, rows of Parquet."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.errors import require
from mien.files import replaced
from mien.recognition import draw, records
from mien.video import records as video_records
from mien.video.recognizer import VideoFrame
from mien.video.source import BT709, FALLBACK_RATE, VideoSource

CONTAINERS = (".mp4", ".mov", ".mkv")
"""What an annotated copy may be; the picture is H.264."""
CLOCK = Fraction(1, 90_000)
"""Unit of the copy's times, seconds: fine enough for any rate, and the same for a rate that varies."""
QUALITY = {"preset": "veryfast", "crf": "20", "bf": "0"}
"""Of the encoder; without B-frames, whose delay a file that may end anywhere cannot take back."""
LIMITED = 1
"""FFmpeg's number of luma in 16..235, as all players take it."""
SOUND_RATE_HZ = 48_000
"""Of sound that is encoded anew, where AAC does not know its own rate."""
JOINED_S = 0.05
"""Sound that is so little before or after the end of what was before goes on from there: containers round times."""
ROWS_A_GROUP = 20_000
"""Rows of a Parquet file that wait to be written."""
ROOM_BYTES = 4 << 20
"""What a Parquet file takes of the disk ahead: more than ROWS_A_GROUP rows and its end need."""
STANDARD_OUTPUT = Path("-")
"""Where a table is printed instead."""


class Output(Protocol):
    """A file that grows picture by picture."""

    path: Path

    def add(self, frame: VideoFrame) -> None:
        """Takes in the next picture.

        Raises:
            OSError: The disk is full, or the file cannot be written.
        """
        ...

    def finish(self, keep: bool) -> None:
        """Ends the file and puts it in its place: whole, with all pictures that were added, even after an error.

        Args:
            keep: False drops it, and leaves what is in its place: an empty file is worse than an earlier one.

        Raises:
            OSError: It cannot be ended.
        """
        ...


class _NothingError(Exception):
    """Ends the block of `replaced` of a file that is to be dropped."""


class Lines:
    """CSV, one line a face, or JSON lines, one a picture; see `Output`.

    Args:
        path: The file, or STANDARD_OUTPUT.
        classes: The model's.
        as_csv: CSV, or else JSON lines.
    """

    def __init__(self, path: Path, classes: Sequence[str], as_csv: bool) -> None:
        self.path = path
        self._place = ExitStack()
        prints = path == STANDARD_OUTPUT
        self._file = (
            os.fdopen(os.dup(1), "wb", 0) if prints else self._place.enter_context(replaced(path)).open("wb", 0)
        )
        self._as_csv = as_csv
        self._whole = 0
        if as_csv:
            self._write(records.csv_line(video_records.video_columns(classes)))

    def add(self, frame: VideoFrame) -> None:
        """See `Output`."""
        record = video_records.of_frame(frame)
        if self._as_csv:
            self._write("".join(records.csv_line(row.values()) for row in video_records.flat_frame(record)))
        else:
            self._write(json.dumps(record, ensure_ascii=False) + "\n")

    def finish(self, keep: bool) -> None:
        """See `Output`."""
        with suppress(_NothingError), self._place, self._file:
            if not keep:
                raise _NothingError
            if self.path != STANDARD_OUTPUT:
                self._file.truncate(self._whole)  # a full disk may have taken half a line

    def _write(self, text: str) -> None:
        data = memoryview(text.encode())
        while data:
            data = data[self._file.write(data) :]
        self._whole += len(text.encode())


class Rows:
    """Parquet, one row a face; see `Output`.

    Such a file cannot be read without its end. So where the system can (Linux), room for the next rows and for the end
    is taken ahead: a full disk is met before anything is lost.

    Args:
        path: The file.
        classes: The model's.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: There is no room for any rows.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        self._pyarrow = require("pyarrow", "batch")
        self._schema = records.parquet_schema(video_records.video_columns(classes))
        parquet = require("pyarrow.parquet", "batch")
        self._rows: list[dict[str, Any]] = []
        with ExitStack() as place:  # nothing is left where there is no room
            self._file = place.enter_context(replaced(path)).open("wb")
            self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")
            self._take_room()
            self._place = place.pop_all()

    def add(self, frame: VideoFrame) -> None:
        """See `Output`."""
        self._rows += video_records.flat_frame(video_records.of_frame(frame))
        if len(self._rows) >= ROWS_A_GROUP:
            self._flush()
            self._take_room()

    def finish(self, keep: bool) -> None:
        """See `Output`."""
        with suppress(_NothingError), self._place, self._file:
            with self._writer:
                self._flush()
            if not keep:
                raise _NothingError
            self._file.truncate()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._writer.write_table(self._pyarrow.Table.from_pylist(rows, self._schema))

    def _take_room(self) -> None:
        self._file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), self._file.tell(), ROOM_BYTES)


class AnnotatedVideo:
    """A copy with a box and a name on each face, the pictures' own times, and the sound as it was; see `Output`.

    The sound is copied packet by packet where the container can hold it, else encoded as AAC. Until it is ended the
    copy is a fragmented file, so that what was written can be played however it ends.

    Args:
        path: The file, of one of `CONTAINERS`.
        source: What the pictures come from, opened with its sound.
    """

    def __init__(self, path: Path, source: VideoSource) -> None:
        self.path = path
        self._av = require("av", "video")
        self._source = source
        self._place = ExitStack()
        part = self._place.enter_context(replaced(path))
        options = {} if path.suffix.lower() == ".mkv" else {"movflags": "hybrid_fragmented+delay_moov"}
        self._container = self._av.open(str(part), "w", options=options)
        rate = Fraction(source.frames_per_s or FALLBACK_RATE).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate, options=QUALITY)
        self._stream.pix_fmt = "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = CLOCK
        # Said in the file, for players guess by the size otherwise, and differently.
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709  # all three have this number
        codec.color_range = LIMITED
        self._begun = False
        self._last_s = 0.0
        self._last_dts = self._next_pts = -math.inf
        self._sound: Any = None
        self._copies = False
        self._resampler: Any = None
        self._heard_as: tuple[str, str, int] | None = None
        if source.sound_stream is not None:
            self._copies = _can_be_copied(source.sound_stream, self._container)
            if self._copies:
                self._sound = self._container.add_stream_from_template(source.sound_stream)
            else:
                rates, rate = self._av.Codec("aac", "w").audio_rates, source.sound_stream.rate
                self._sound = self._container.add_stream("aac", rate=rate if rate in rates else SOUND_RATE_HZ)

    def add(self, frame: VideoFrame) -> None:
        """See `Output`."""
        faces = [face.steady_face for face in frame.faces]
        picture = np.asarray(draw.annotate(frame.image_rgb, faces, [face.track for face in frame.faces]))
        height, width = (length - length % 2 for length in picture.shape[:2])  # H.264 halves the colours' resolution
        if not self._begun:
            self._begun = True
            self._stream.width, self._stream.height = width, height
        image = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        size = self._stream.width, self._stream.height  # a stream may change it on the way
        image = image.reformat(*size, "yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED)
        image.pts, image.time_base = round(frame.time_s / CLOCK), CLOCK
        self._add_sound(frame.time_s)
        self._last_s = frame.time_s
        self._container.mux(self._stream.encode(image))

    def finish(self, keep: bool) -> None:
        """See `Output`. Where its end cannot be written, the copy is put in its place as far as it goes."""
        error: Exception | None = None
        with suppress(_NothingError), self._place:
            try:
                self._end()
            except (OSError, self._av.error.FFmpegError) as raised:
                error = raised
            if not (keep and self._begun):
                raise _NothingError
        if error:
            raise error

    def _end(self) -> None:
        try:
            if self._begun:  # sound alone would open the picture's encoder too
                self._add_sound(math.inf if self._source.ended else self._last_s)
                self._container.mux(self._stream.encode(None))
                if self._sound is not None and not self._copies:
                    self._encode(self._left_in_resampler())
                    self._container.mux(self._sound.encode(None))
        finally:
            self._container.close()

    def _add_sound(self, until_s: float) -> None:
        """The sound up to a time; what comes later waits for its pictures."""
        waiting = self._source.sound
        while waiting and float(waiting[0].dts * waiting[0].time_base) - self._source.start_s <= until_s:
            packet = waiting.popleft()
            shift = round(self._source.start_s / packet.time_base)
            if not self._copies:
                self._encode_sound(packet, shift)
            # Sound that jumps back, as of two recordings in one, cannot be told apart.
            elif packet.dts > self._last_dts:
                self._last_dts = packet.dts
                packet.dts, packet.pts = packet.dts - shift, (packet.pts or packet.dts) - shift
                packet.stream = self._sound
                self._container.mux(packet)

    def _encode_sound(self, packet: Any, shift: int) -> None:
        try:
            heard = packet.decode()
        except self._av.error.InvalidDataError:
            return  # a damaged packet costs its own sound, as players have it
        for samples in heard:
            samples.pts -= shift
            self._encode(self._resampled(samples))

    def _resampled(self, samples: Any) -> list[Any]:
        """The samples as the encoder takes them; broadcasts change from mono to stereo and back on the way."""
        heard_as = (samples.format.name, samples.layout.name, samples.sample_rate)
        last = []
        if heard_as != self._heard_as:
            last = self._left_in_resampler()
            self._heard_as = heard_as
            self._resampler = self._av.AudioResampler(self._sound.format, self._sound.layout, self._sound.rate)
        return [*last, *self._resampler.resample(samples)]

    def _left_in_resampler(self) -> list[Any]:
        left = self._resampler.resample(None) if self._resampler else []
        return [samples for samples in left if samples is not None]

    def _encode(self, resampled: list[Any]) -> None:
        rate = self._sound.rate
        for samples in resampled:
            # In the encoder's own unit, for it takes all to be in that of the first, which may be the container's.
            pts = round(samples.pts * samples.time_base * rate)
            if abs(pts - self._next_pts) < JOINED_S * rate:
                pts = self._next_pts
            if pts < self._next_pts:  # it jumps back
                continue
            samples.pts, samples.time_base = pts, Fraction(1, rate)
            self._next_pts = pts + samples.samples
            self._container.mux(self._sound.encode(samples))


def _can_be_copied(sound: Any, container: Any) -> bool:
    """Whether a container can hold a sound's packets as they are: broadcast AAC lacks a header, PCM has odd rates."""
    codec = sound.codec.canonical_name
    if codec.startswith("pcm_") or (codec == "aac" and not sound.codec_context.extradata):
        return False
    av = require("av", "video")
    try:  # what FFmpeg lists as supported is not all that it writes: no FLAC or Opus into .mov
        with av.open(io.BytesIO(), "w", format=container.format.name) as trial:
            trial.add_stream_from_template(sound)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
