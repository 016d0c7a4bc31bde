"""Pictures that cannot be decoded: named and counted in training, an error in evaluation."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.logging import print_log
from PIL import Image

from benchmark.determinism import seeded
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


class TrainingSamples:
    """Mixed into a data set of MMEngine's: samples that their own seed decides, and none of an unreadable picture.

    In training a picture that cannot be decoded is named, counted and replaced. In evaluation (``test_mode``) it is an
    error: a figure over fewer images would be wrong.
    """

    test_mode: bool
    _passed_over = 0

    def __getitem__(self, idx: int | tuple[int, int]) -> Any:
        """Return a sample by its index or, for training, by ``SampleStream``'s (index, seed).

        A training sample's metainfo counts in ``passed_over`` the unreadable pictures in its place.
        """
        if not isinstance(idx, tuple):
            return super().__getitem__(idx)
        index, seed = idx
        self._passed_over = 0
        with seeded(seed):
            sample = super().__getitem__(index)
        sample["data_samples"].set_metainfo({"passed_over": self._passed_over})
        return sample

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one picture; None, and so another picture, if it is unreadable in training."""
        try:
            return super().prepare_data(idx)
        except UnreadableImageError as error:
            if self.test_mode:
                raise
            self._passed_over += 1
            print_log(f"Passed over: {error}", logger="current", level=logging.WARNING)
            return None
