"""Frames of videos, cameras and streams by FFmpeg, and videos of what was drawn on them."""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.error import ExitError, FFmpegError, InvalidDataError

from backbones.errors import UserError
from benchmark.files.reading import check_regular
from benchmark.inference.sources import Video

_PATIENCE = 10.0  # s, for a camera or a server
_ENCODERS = ("libx264", "mpeg4")  # the first that this FFmpeg has
# Without B-frames, which would have the file begin later than at 0.
_QUALITY = {"libx264": {"crf": "20", "preset": "veryfast", "bf": "0"}, "mpeg4": {"qscale": "3"}}
# What is written can be played after a kill, and is an ordinary file once it is whole.
_SURVIVING = {"movflags": "+hybrid_fragmented"}
_LEAST_LOST = 2  # frames by which a file may be shorter than its header tells
_SHARE_LOST = Fraction(1, 100)  # likewise, of its length
_USUAL_RATE = Fraction(25)  # where a source tells none
_FINEST = 10_000  # units of a second that times are written in, at least


class UnreadableVideoError(UserError):
    """A video, camera or stream that cannot be opened.

    Attributes:
        reason: why.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read: {reason}.")
        self.reason = reason


@dataclass(frozen=True)
class Frame:
    """A frame.

    Attributes:
        image: (H, W, 3) uint8, BGR, upright.
        number: its place in the video, from 0.
        seconds: when it is shown, from the first frame; strictly growing.
    """

    image: np.ndarray
    number: int
    seconds: Fraction


class Frames:
    """An opened video, camera or stream; a context that closes it.

    Attributes:
        rate: frames a second.
        total: frames as far as is known, None for what has no end.
        damaged: after ``read``, how many packets between frames could not be decoded.
        problem: after ``read``, why it broke off before its end, or None.
    """

    def __init__(self, video: Video) -> None:
        """Open it.

        Raises:
            UnreadableVideoError: it is not there, does not answer, or has no picture.
        """
        self._video = video
        self.damaged = 0
        self.problem: str | None = None
        with _named(video):
            if video.path:
                check_regular(video.path)
            options = {"rtsp_transport": "tcp"} if video.address.startswith("rtsp") else {}
            wait = None if video.path else _PATIENCE
            self._container = av.open(
                video.address, "r", video.device, options, timeout=wait, metadata_errors="replace"
            )
        if not self._container.streams.video:
            self._container.close()
            raise UnreadableVideoError(video.name, "it holds no video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = self._stream.average_rate or self._stream.guessed_rate or _USUAL_RATE
        self._unit = self._stream.time_base or 1 / self.rate  # s, of all times below
        self._step = max(1, round(1 / (self.rate * self._unit)))
        self.total = self._stream.frames or None if video.path else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def read(self) -> Iterator[Frame]:
        """Yield the frames; a source that breaks off ends them, and ``problem`` says why."""
        number, first, last, end = 0, None, None, None
        try:
            for frame in self._decode():
                image = np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90)
                time = frame.pts if frame.pts is not None else (0 if last is None else last + self._step)
                if last is not None and time <= last:
                    time = last + 1
                first, last = time if first is None else first, time
                end = time + (frame.duration or self._step)
                yield Frame(np.ascontiguousarray(image), number, self._seconds(time - first, number))
                number += 1
        except FFmpegError as error:
            self.problem = _reason(error)
            return
        self.problem = self._find_missing(end)

    def _seconds(self, time: int, number: int) -> Fraction:
        """Return a time in seconds; of constant frame rate the very one, which some formats round to milliseconds."""
        regular = number / self.rate
        return regular if abs(time * self._unit - regular) <= self._unit else time * self._unit

    def _decode(self) -> Iterator[av.VideoFrame]:
        begun, suspected = False, 0
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except InvalidDataError:
                suspected += begun  # before its first whole frame a stream has been joined midway
                continue
            for frame in frames:
                begun, self.damaged = True, self.damaged + suspected
                suspected = 0
                yield frame
        self.damaged += suspected

    def _find_missing(self, end: int | None) -> str | None:
        """Say what is missing of a source that has ended, by the length that it told of."""
        if end is None:
            return "no frame can be decoded"
        begin = self._stream.start_time or 0
        if self._stream.duration:
            told, allowed = self._stream.duration * self._unit, Fraction(0)
        elif self._container.duration:  # of the longest of its streams
            told = Fraction(self._container.duration, av.time_base)
            allowed = Fraction(len(self._container.streams) > 1)
        else:
            return None if self._video.path else "it ended"
        allowed += max(_LEAST_LOST * self._step * self._unit, _SHARE_LOST * told)
        if told - (end - begin) * self._unit <= allowed:
            return None
        return f"it was cut off, its header tells of {float(told):.1f} s"


class VideoWriter:
    """A video file (H.264 in MP4) that is written frame by frame; a context that completes it, also after an error.

    Args:
        path: of the file, in a folder that is there.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self._path = path
        self._unit = Fraction(1, rate.numerator * -(-_FINEST // rate.numerator))  # s; a frame is a whole number of them
        self._last: int | None = None
        encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        with self._writing():
            self._container = av.open(str(path), "w", "mp4", container_options=_SURVIVING)
            stream = self._container.add_stream(encoder, rate=rate, options=_QUALITY[encoder])
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        self._stream.pix_fmt = "yuv420p"  # what players show
        self._stream.codec_context.time_base = self._unit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writing():
            try:
                if self._last is not None:
                    self._container.mux(self._stream.encode())
            finally:
                self._container.close()
        if self._last is None:
            self._path.unlink(missing_ok=True)

    def write(self, image: np.ndarray, seconds: Fraction) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8, RGB; one of another size than the first is fitted to it.
            seconds: when it is shown, later than the one before.

        Raises:
            UserError: the file cannot be written.
        """
        height, width, _ = image.shape
        if height % 2 or width % 2:  # H.264 takes no odd sides
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        time = round(seconds / self._unit)
        if self._last is None:
            self._stream.height, self._stream.width = image.shape[:2]
        elif time <= self._last:
            time = self._last + 1
        frame.pts, frame.time_base, self._last = time, self._unit, time
        with self._writing():
            self._container.mux(self._stream.encode(frame))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise UserError(f"Could not write {self._path}: {_reason(error)}.") from error


def check_video(video: Video) -> None:
    """Open a video, camera or stream, and close it again.

    Raises:
        UnreadableVideoError: it is not there, does not answer, or has no picture.
    """
    with Frames(video):
        pass


@contextlib.contextmanager
def _named(video: Video) -> Iterator[None]:
    """Name the video in what goes wrong in the block."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        raise UnreadableVideoError(video.name, _reason(error)) from error


def _reason(error: FFmpegError | OSError) -> str:
    """Return what went wrong without the address, which may hold a password."""
    if isinstance(error, ExitError):
        return f"nothing came for {_PATIENCE:g} s"
    number = error.errno or 0
    text = error.strerror or (os.strerror(number) if number in errno.errorcode else type(error).__name__)
    return text[:1].lower() + text[1:]
