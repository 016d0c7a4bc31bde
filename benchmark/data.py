"""Reading COCO-format data: images that may be corrupt, and a count of those passed over."""

import contextlib
import logging
import multiprocessing
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.logging import print_log
from PIL import Image

from benchmark.errors import UserError


class UnreadableImageError(UserError):
    """A picture that cannot be decoded."""


def read_image(path: str) -> np.ndarray:
    """Decode a picture to (H, W, 3) uint8, BGR as MMDetection's transforms expect.

    Orientation tags are not applied: COCO's boxes refer to the stored pixels.

    Raises:
        UnreadableImageError: missing, truncated, or not a picture.
    """
    try:
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(
            f"Cannot decode image {path}: {error}. Restore it from the data set's archive."
        ) from error
    return np.ascontiguousarray(rgb[..., ::-1])


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Put the picture at ``img_path`` into ``img``; unlike OpenCV's reader a truncated file is an error."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (H, W, 3) uint8 BGR, ``img_shape`` and ``ori_shape`` (H, W)."""
        image = read_image(results["img_path"])
        return {**results, "img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}


@DATASETS.register_module()
class CocoDetection(CocoDataset):
    """MMDetection's CocoDataset that names, counts and replaces unreadable pictures in training.

    In evaluation (``test_mode``) an unreadable picture is an error: a figure over fewer images would be wrong.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._unreadable = multiprocessing.Value("q", 0)  # shared with the data-loading processes
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the annotations without pycocotools' chatter."""
        with contextlib.redirect_stdout(None):
            return super().load_data_list()

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
