"""What predictions are written as: COCO's results format, or a line of JSON per picture."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from benchmark.files.atomic import make_folder, write_atomically

PREDICTIONS, IMAGES, LINES = "predictions.json", "images.json", "predictions.jsonl"
NAMES = (PREDICTIONS, IMAGES, LINES)


class Results(Protocol):
    """A context into which predictions go one by one; left in any way, it keeps those that there are."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, image: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> None:
        """Write what was found in a picture.

        Args:
            image: as in COCO's list ``images``: ``id``, ``file_name``, ``width``, ``height``; of a video's frame also
                ``video_id``, ``frame_id`` from 0 and ``seconds``.
            detections: in COCO's results format.
        """


class CocoResults:
    """``predictions.json`` in COCO's results format, and ``images.json`` with the pictures and classes meant.

    Args:
        out: folder to write to.
        names: class name by category id.
        videos: names of the videos; the first one's id is 1.
    """

    def __init__(self, out: Path, names: Mapping[int, str], videos: Sequence[str]) -> None:
        self._out = out
        self._categories = [{"id": category_id, "name": name} for category_id, name in names.items()]
        self._videos = [{"id": number, "name": name} for number, name in enumerate(videos, 1)]
        self._images: list[Mapping[str, Any]] = []
        self._part = out / f".{PREDICTIONS}.{os.getpid()}.part"  # a day of frames would not fit into memory
        self._written = 0

    def __enter__(self) -> Self:
        make_folder(self._out)
        self._file = self._part.open("wb")
        self._file.write(b"[")
        return self

    def add(self, image: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> None:
        """Write what was found in a picture; see ``Results``."""
        self._images.append(image)
        for detection in detections:
            self._file.write((b", " if self._written else b"") + orjson.dumps(detection))
            self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.write(b"]")
            self._file.close()
            content = {"images": self._images, "annotations": [], "categories": self._categories}
            content |= {"videos": self._videos} if self._videos else {}
            text = json.dumps(content)
            write_atomically(self._out / IMAGES, lambda temporary: temporary.write_text(text))
            write_atomically(self._out / PREDICTIONS, lambda temporary: self._part.replace(temporary))
            _remove(self._out, LINES)
        finally:
            with suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)


class JsonLines:
    """``predictions.jsonl``: a line per picture with all that was found in it, written at once.

    Arguments as of ``CocoResults``.
    """

    def __init__(self, out: Path, names: Mapping[int, str], videos: Sequence[str]) -> None:
        self._out, self._names = out, names

    def __enter__(self) -> Self:
        make_folder(self._out)
        self._file = (self._out / LINES).open("wb")
        _remove(self._out, PREDICTIONS, IMAGES)
        return self

    def add(self, image: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> None:
        """Write what was found in a picture; see ``Results``."""
        own = [
            {"category": self._names[found["category_id"]], **{k: v for k, v in found.items() if k != "image_id"}}
            for found in detections
        ]
        self._file.write(orjson.dumps({**image, "detections": own}, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


# --format -> what writes it.
STYLES: Mapping[str, Callable[[Path, Mapping[int, str], Sequence[str]], Results]] = {
    "coco": CocoResults,
    "jsonl": JsonLines,
}


def _remove(out: Path, *names: str) -> None:
    """Remove an earlier prediction's results in the other format, which would tell of other pictures."""
    for name in names:
        (out / name).unlink(missing_ok=True)
