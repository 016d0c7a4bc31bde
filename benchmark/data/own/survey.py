"""The pictures of a data set, looked at once each without decoding: size as seen upright, and a hash of the file."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from backbones.errors import UserError
from benchmark.console import track_progress
from benchmark.data.decode import open_picture, orientation_tag, turned_shape

_FEW = 256  # pictures that are not worth a second process, and that a process takes at once
_PART = 4096  # bytes hashed at either end of a file


class Seen(NamedTuple):
    """A picture: width and height in pixels, upright and as stored, and the hash of its size and both its ends.

    Two pictures of one hash are taken for the same: it covers the compressed end, where different pictures differ.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    digest: str


def survey(root: Path, files: Sequence[str]) -> dict[str, Seen | str]:
    """Look at pictures on all cores; the value is a text, the reason, for one that cannot be read."""
    with ExitStack() as stack:
        look = partial(_look, str(root))
        if len(files) > _FEW:
            cores = len(os.sched_getaffinity(0))
            found = stack.enter_context(ProcessPoolExecutor(cores)).map(look, files, chunksize=_FEW)
        else:
            found = map(look, files)
        return dict(zip(files, track_progress(found, "Looking at pictures", len(files)), strict=True))


def _look(root: str, file: str) -> Seen | str:
    path = os.path.join(root, file)
    try:
        with open_picture(path) as image:
            stored, tag = (image.height, image.width), orientation_tag(image)
        height, width = turned_shape(stored, tag)
        return Seen((width, height), stored[::-1], _digest(path))
    except UserError as error:
        return str(error.__cause__ or error)
    except OSError as error:
        return str(error.strerror)


def _digest(path: str) -> str:
    with open(path, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        found = hashlib.blake2b(str(size).encode(), digest_size=12)
        found.update(opened.read(_PART))
        opened.seek(max(size - _PART, 0))
        found.update(opened.read())
    return found.hexdigest()
