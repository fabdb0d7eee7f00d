"""Writes an annotated copy of a video, with its sound."""

from __future__ import annotations

import io
import math
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import require
from mien.files import MARK, replaced
from mien.recognition import draw
from mien.video.recognizer import VideoFrame
from mien.video.source import BT709, FALLBACK_FPS, VideoSource
from mien.video.writers import DiscardedError

CONTAINERS = (".mp4", ".mov", ".mkv")
"""The file types of an annotated copy; the video is H.264."""
TIME_BASE = Fraction(1, 90_000)
"""Unit of the copy's timestamps, in seconds: fine enough for every frame rate, constant or variable."""
ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0"}
"""No B-frames, because a file that may end at any time cannot correct their delay afterwards."""
LIMITED_RANGE = 1
"""FFmpeg's number for luma in 16..235, which all players support."""
FALLBACK_SOUND_HZ = 48_000
"""Sample rate of re-encoded sound if AAC does not support the original rate."""
MAX_ROUNDING_S = 0.05
"""Re-encoded sound is continuous if its timestamps differ by less than this, because containers round them."""


class AnnotatedVideoWriter:
    """Writes a copy with a box and an expression on each face, the original timestamps and the sound.

    See `VideoWriter`. The sound is copied packet by packet if the container supports its format, and otherwise encoded
    as AAC. Until it is finished the copy is a fragmented file, so that it can be played however it ends.

    Args:
        path: The file, of a type in `CONTAINERS`.
        source: The source of the frames, opened with its sound.
        blur: Whether to blur the faces.
    """

    def __init__(self, path: Path, source: VideoSource, blur: bool = False) -> None:
        self.path = path
        self._blur = blur
        self._av = require("av", "video")
        self._source = source
        self._replacement = ExitStack()
        part = self._replacement.enter_context(replaced(path))
        options = {} if path.suffix.lower() == ".mkv" else {"movflags": "hybrid_fragmented+delay_moov"}
        self._container = self._av.open(str(part), "w", options=options)
        self._container.metadata["comment"] = MARK
        frame_rate = Fraction(source.frames_per_s or FALLBACK_FPS).limit_denominator(1001)
        self._video = self._container.add_stream("libx264", rate=frame_rate, options=ENCODER_OPTIONS)
        self._video.pix_fmt = "yuv420p"
        codec = self._video.codec_context
        codec.time_base = TIME_BASE
        # Players guess unstated colours by the size of the video, and not all alike.
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709  # the same number for all three
        codec.color_range = LIMITED_RANGE
        self._has_frames = False
        self._last_time_s = 0.0
        self._last_sound_dts = self._next_sound_pts = -math.inf
        self._sound: Any = None
        self._copies_sound = False
        self._resampler: Any = None
        self._resampled_format: tuple[str, str, int] | None = None
        if source.sound_stream is not None:
            self._copies_sound = _can_copy(source.sound_stream, self._container)
            if self._copies_sound:
                self._sound = self._container.add_stream_from_template(source.sound_stream)
            else:
                supported, sound_hz = self._av.Codec("aac", "w").audio_rates, source.sound_stream.rate
                sound_hz = sound_hz if sound_hz in supported else FALLBACK_SOUND_HZ
                self._sound = self._container.add_stream("aac", rate=sound_hz)

    def add(self, frame: VideoFrame) -> None:
        """See `VideoWriter`."""
        faces = [face.steady_face for face in frame.faces]
        tracks = [face.track for face in frame.faces]
        annotated = np.asarray(draw.annotate(frame.image_rgb, faces, tracks, self._blur))
        height, width = (length - length % 2 for length in annotated.shape[:2])  # H.264 needs even sides
        if not self._has_frames:
            self._has_frames = True
            self._video.width, self._video.height = width, height
        image = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(annotated[:height, :width]), format="rgb24")
        size = self._video.width, self._video.height  # the size of the source's frames may change
        image = image.reformat(*size, "yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
        image.pts, image.time_base = round(frame.time_s / TIME_BASE), TIME_BASE
        self._add_sound(frame.time_s)
        self._last_time_s = frame.time_s
        self._container.mux(self._video.encode(image))

    def finish(self, keep: bool) -> None:
        """See `VideoWriter`. If its end cannot be written, the copy is kept up to there if no file is there."""
        error: Exception | None = None
        with suppress(DiscardedError), self._replacement:
            try:
                self._close()
            except (OSError, self._av.error.FFmpegError) as raised:
                error = raised
            if not (keep and self._has_frames) or (error and self.path.exists()):
                raise DiscardedError
        if error:
            raise error

    def _close(self) -> None:
        try:
            if self._has_frames:  # with sound alone, the encoder of the video would fail to open
                self._add_sound(math.inf if self._source.ended else self._last_time_s)
                self._container.mux(self._video.encode(None))
                if self._sound is not None and not self._copies_sound:
                    self._encode_sound(self._flush_resampler())
                    self._container.mux(self._sound.encode(None))
        finally:
            self._container.close()

    def _add_sound(self, until_s: float) -> None:
        """Writes the sound up to a time; later packets wait for their frames."""
        packets = self._source.sound
        while packets and float(packets[0].dts * packets[0].time_base) - self._source.start_s <= until_s:
            packet = packets.popleft()
            shift = round(self._source.start_s / packet.time_base)
            if not self._copies_sound:
                self._reencode(packet, shift)
            elif packet.dts > self._last_sound_dts:  # sound that jumps back cannot be copied
                self._last_sound_dts = packet.dts
                packet.dts, packet.pts = packet.dts - shift, (packet.pts or packet.dts) - shift
                packet.stream = self._sound
                self._container.mux(packet)

    def _reencode(self, packet: Any, shift: int) -> None:
        try:
            decoded = packet.decode()
        except self._av.error.InvalidDataError:
            return  # like players, skip only the sound of a damaged packet
        for samples in decoded:
            samples.pts -= shift
            self._encode_sound(self._resample(samples))

    def _resample(self, samples: Any) -> list[Any]:
        """Converts samples to the encoder's format; broadcasts switch between mono and stereo."""
        sample_format = (samples.format.name, samples.layout.name, samples.sample_rate)
        flushed = []
        if sample_format != self._resampled_format:
            flushed = self._flush_resampler()
            self._resampled_format = sample_format
            self._resampler = self._av.AudioResampler(self._sound.format, self._sound.layout, self._sound.rate)
        return [*flushed, *self._resampler.resample(samples)]

    def _flush_resampler(self) -> list[Any]:
        flushed = self._resampler.resample(None) if self._resampler else []
        return [samples for samples in flushed if samples is not None]

    def _encode_sound(self, resampled: list[Any]) -> None:
        sound_hz = self._sound.rate
        for samples in resampled:
            # In units of one sample, because the encoder assumes the time base of the first samples for all.
            pts = round(samples.pts * samples.time_base * sound_hz)
            if abs(pts - self._next_sound_pts) < MAX_ROUNDING_S * sound_hz:
                pts = self._next_sound_pts
            if pts < self._next_sound_pts:  # the sound jumps back
                continue
            samples.pts, samples.time_base = pts, Fraction(1, sound_hz)
            self._next_sound_pts = pts + samples.samples
            self._container.mux(self._sound.encode(samples))


def _can_copy(sound: Any, container: Any) -> bool:
    """Returns whether a container can hold the packets of an audio stream unchanged."""
    codec = sound.codec.canonical_name
    # PCM may have a rate that the container rejects, and AAC of broadcasts has no header.
    if codec.startswith("pcm_") or (codec == "aac" and not sound.codec_context.extradata):
        return False
    av = require("av", "video")
    try:  # FFmpeg lists formats as supported that it then does not write, such as FLAC and Opus in .mov
        with av.open(io.BytesIO(), "w", format=container.format.name) as trial:
            trial.add_stream_from_template(sound)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
