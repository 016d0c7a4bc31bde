"""Reading pictures: whole ones as 8-bit RGB or BGR, and one kind of error for all others.

libjpeg-turbo decodes ordinary JPEGs, by simplejpeg, straight into the wanted order of channels; Pillow reads the rest,
and judges every JPEG that libjpeg-turbo finds fault with. Both give the same pixels.

A picture with an EXIF orientation tag is turned upright, as MMDetection's own reader does, unless the annotated size is
that of the stored pixels and not of the upright picture.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import simplejpeg
from PIL import Image

from backbones.errors import UserError
from benchmark.files.reading import check_regular, read_regular

_UNKNOWN_RANGE = ("I", "F")  # Pillow's modes of 32-bit values
_PLAIN = ("YCbCr", "RGB", "Gray")  # JPEG's colour spaces that libjpeg converts to RGB itself
_ORIENTATION = 0x0112  # EXIF's tag
_EXIF = b"Exif\0\0"  # what its part of a JPEG begins with
_MARKER, _SCAN = 0xFF, 0xDA  # what a JPEG's segment begins with, and which of them begins the coded pixels
# The tag's value -> how stored pixels (H, W, C) become upright.
_TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}
_ON_THE_SIDE = (5, 6, 7, 8)  # those by which height and width change places
AS_STORED = 1
Shape = tuple[int, int]  # (H, W) in pixels


class UnreadableImageError(UserError):
    """A picture that cannot be decoded."""


@dataclass(frozen=True)
class Encoded:
    """A picture's file in memory, of which only the header has been read.

    Attributes:
        path: of the file.
        content: of the file.
        shape: of the picture as it is decoded.
        plain_jpeg: whether libjpeg-turbo can be asked for its pixels.
        turn: the orientation tag that is applied, ``AS_STORED`` for none.
    """

    path: str
    content: bytes
    shape: Shape
    plain_jpeg: bool
    turn: int

    def decode(self, order: Literal["RGB", "BGR"] = "BGR") -> np.ndarray:
        """Return the picture as (H, W, 3) uint8, by default BGR as MMDetection's transforms expect.

        Raises:
            UnreadableImageError: truncated or damaged.
        """
        stored = self._decode_stored(order)
        return stored if self.turn == AS_STORED else np.ascontiguousarray(_TURNS[self.turn](stored))

    def _decode_stored(self, order: Literal["RGB", "BGR"]) -> np.ndarray:
        if self.plain_jpeg:
            try:
                return simplejpeg.decode_jpeg(self.content, order)  # a mere warning is an error, too
            except ValueError:
                pass  # harmless bytes between two segments, or half of the file is missing: Pillow tells
        with _open(self.path, BytesIO(self.content)) as image:
            rgb = np.asarray(to_rgb(image))
        return rgb if order == "RGB" else np.ascontiguousarray(rgb[..., ::-1])


def read_encoded(path: str, annotated: Shape | None = None) -> Encoded:
    """Read a picture's file and its header.

    Args:
        path: of the file.
        annotated: the size that its boxes refer to, where it is known.

    Raises:
        UnreadableImageError: missing, not a picture, or too large for Pillow.
    """
    with _unreadable(path):
        content = read_regular(Path(path))
    height, width, tag, plain_jpeg = 0, 0, AS_STORED, False
    with suppress(ValueError):
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        plain_jpeg = colours in _PLAIN and height * width <= Image.MAX_IMAGE_PIXELS
    if not plain_jpeg or content.find(_EXIF, 0, _find_scan(content)) >= 0:
        with _open(path, BytesIO(content)) as image:
            height, width, tag = image.height, image.width, orientation_tag(image)
    turn = choose_turn(tag, (height, width), annotated)
    return Encoded(path, content, turned_shape((height, width), turn), plain_jpeg, turn)


def read_image(path: str, order: Literal["RGB", "BGR"] = "BGR", annotated: Shape | None = None) -> np.ndarray:
    """Decode a picture; see ``read_encoded`` and ``Encoded.decode``."""
    return read_encoded(path, annotated).decode(order)


def orientation_tag(image: Image.Image) -> int:
    """Return the EXIF orientation, 1..8, of a picture that has been opened and not decoded; 1 where nothing says."""
    if image.format == "TIFF" or "exif" not in image.info:  # TIFFs are turned by Pillow itself
        return AS_STORED
    exif = Image.Exif()
    try:
        exif.load(image.info["exif"])
        tag = exif.get(_ORIENTATION)
    except Exception:  # damaged EXIF data make Pillow raise anything, and are no part of the picture
        return AS_STORED
    return tag if isinstance(tag, int) and tag in _TURNS else AS_STORED


def choose_turn(tag: int, stored: Shape, annotated: Shape | None) -> int:
    """Return which orientation tag is applied to a picture, the one rule for training, evaluation and prediction.

    Args:
        tag: of the picture.
        stored: its size in the file.
        annotated: the size that its boxes refer to, where it is known.
    """
    return AS_STORED if annotated == stored != turned_shape(stored, tag) else tag


def turned_shape(stored: Shape, turn: int) -> Shape:
    """Return the size of a picture once an orientation tag is applied."""
    return stored[::-1] if turn in _ON_THE_SIDE else stored


@contextmanager
def open_picture(path: str) -> Iterator[Image.Image]:
    """Open a picture with Pillow, for its header or a reduced decoding; the first, if the file holds several.

    Raises:
        UnreadableImageError: missing, damaged, not a picture, or too large for Pillow; its cause is the reason alone.
    """
    with _unreadable(path):
        check_regular(Path(path))
    with _open(path, path) as image:
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened picture to 8-bit RGB, the first 8 of 16 bits; orientation tags are not applied.

    Raises:
        ValueError: 32-bit values, whose range nothing says.
    """
    if image.mode in _UNKNOWN_RANGE:
        raise ValueError(f"its 32-bit values have no known range (mode {image.mode}); save it as 8-bit")
    if image.mode.startswith("I;16"):  # Pillow's conversion would cut off all values above 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _find_scan(content: bytes) -> int:
    """Return where the header of a JPEG ends; the file's end where its segments do not follow one another."""
    at = 2
    while content[at : at + 1] == bytes([_MARKER]) and at + 4 <= len(content):
        if content[at + 1] == _SCAN:
            return at
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return len(content)


@contextmanager
def _open(path: str, source: str | BinaryIO) -> Iterator[Image.Image]:
    with _unreadable(path), Image.open(source) as image:
        yield image


@contextmanager
def _unreadable(path: str) -> Iterator[None]:
    """Name the picture in whatever goes wrong in the block."""
    try:
        yield
    except UnreadableImageError:
        raise
    except Exception as error:  # a damaged file makes decoders raise anything
        reason = str(error) or type(error).__name__
        raise UnreadableImageError(f"Cannot decode image {path}: {reason}. Restore it from its archive.") from error
