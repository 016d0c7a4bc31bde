"""Reading pictures: whole ones as 8-bit RGB or BGR, and one kind of error for all others.

libjpeg-turbo decodes ordinary JPEGs, by simplejpeg, straight into the wanted order of channels; Pillow reads the rest,
and judges every JPEG that libjpeg-turbo finds fault with. Both give the same pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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


class UnreadableImageError(UserError):
    """A picture that cannot be decoded."""


@dataclass(frozen=True)
class Encoded:
    """A picture's file in memory, of which only the header has been read.

    Attributes:
        path: of the file.
        content: of the file.
        shape: (H, W) in stored pixels.
        plain_jpeg: whether libjpeg-turbo can be asked for its pixels.
    """

    path: str
    content: bytes
    shape: tuple[int, int]
    plain_jpeg: bool

    def decode(self, order: Literal["RGB", "BGR"] = "BGR") -> np.ndarray:
        """Return the picture as (H, W, 3) uint8, by default BGR as MMDetection's transforms expect.

        Orientation tags are not applied: COCO's boxes refer to the stored pixels.

        Raises:
            UnreadableImageError: truncated or damaged.
        """
        if self.plain_jpeg:
            try:
                return simplejpeg.decode_jpeg(self.content, order)  # a mere warning is an error, too
            except ValueError:
                pass  # harmless bytes between two segments, or half of the file is missing: Pillow tells
        with _open(self.path, BytesIO(self.content)) as image:
            rgb = np.asarray(to_rgb(image))
        return rgb if order == "RGB" else np.ascontiguousarray(rgb[..., ::-1])


def read_encoded(path: str) -> Encoded:
    """Read a picture's file and its header.

    Raises:
        UnreadableImageError: missing, not a picture, or too large for Pillow.
    """
    with _unreadable(path):
        content = read_regular(Path(path))
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        pass
    else:
        if colours in _PLAIN and height * width <= Image.MAX_IMAGE_PIXELS:
            return Encoded(path, content, (height, width), plain_jpeg=True)
    with _open(path, BytesIO(content)) as image:
        return Encoded(path, content, (image.height, image.width), plain_jpeg=False)


def read_image(path: str, order: Literal["RGB", "BGR"] = "BGR") -> np.ndarray:
    """Decode a picture; see ``read_encoded`` and ``Encoded.decode``."""
    return read_encoded(path).decode(order)


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
