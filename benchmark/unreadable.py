"""Pictures that cannot be decoded: named and counted in training, an error in evaluation."""

import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.logging import print_log
from PIL import Image

from benchmark.errors import UserError


class UnreadableImageError(UserError):
    """A picture that cannot be decoded."""


@contextmanager
def open_picture(path: str) -> Iterator[Image.Image]:
    """Open a picture for decoding within the block.

    Raises:
        UnreadableImageError: missing, truncated, or not a picture.
    """
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(
            f"Cannot decode image {path}: {error}. Restore it from the data set's archive."
        ) from error


class PassOverUnreadable:
    """Mixed into a data set of MMEngine's: names, counts and replaces unreadable pictures in training.

    In evaluation (``test_mode``) an unreadable picture is an error: a figure over fewer images would be wrong.
    """

    test_mode: bool

    def __init__(self, **kwargs: Any) -> None:
        self._unreadable = multiprocessing.Value("q", 0)  # shared with the data-loading processes
        super().__init__(**kwargs)

    @property
    def unreadable_images(self) -> int:
        """How often a picture could not be decoded and another was taken."""
        return self._unreadable.value

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one picture; None, and so another picture, if it is unreadable in training."""
        try:
            return super().prepare_data(idx)
        except UnreadableImageError as error:
            if self.test_mode:
                raise
            with self._unreadable.get_lock():
                self._unreadable.value += 1
            print_log(
                f"Passed over (number {self.unreadable_images}): {error}", logger="current", level=logging.WARNING
            )
            return None
