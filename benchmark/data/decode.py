"""Reading pictures: whole ones as 8-bit RGB, and one kind of error for all others."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from backbones.errors import UserError

_UNKNOWN_RANGE = ("I", "F")  # Pillow's modes of 32-bit values


class UnreadableImageError(UserError):
    """A picture that cannot be decoded."""


@contextmanager
def open_picture(path: str) -> Iterator[Image.Image]:
    """Open a picture for decoding within the block; the first, if the file holds several.

    Raises:
        UnreadableImageError: missing, damaged, not a picture, or too large for Pillow; its cause is the reason alone.
    """
    try:
        with Image.open(path) as image:
            yield image
    except UnreadableImageError:
        raise
    except Exception as error:  # a damaged file makes decoders raise anything
        reason = str(error) or type(error).__name__
        raise UnreadableImageError(f"Cannot decode image {path}: {reason}. Restore it from its archive.") from error


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


def read_image(path: str) -> np.ndarray:
    """Decode a picture to (H, W, 3) uint8, BGR as MMDetection's transforms expect.

    Orientation tags are not applied: COCO's boxes refer to the stored pixels.

    Raises:
        UnreadableImageError: missing, truncated, or not a picture.
    """
    with open_picture(path) as image:
        rgb = np.asarray(to_rgb(image))
    return np.ascontiguousarray(rgb[..., ::-1])
