"""Reading COCO-format data: images that may be corrupt, and a count of those passed over."""

import contextlib
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, TRANSFORMS

from benchmark.unreadable import PassOverUnreadable, open_picture


def read_image(path: str) -> np.ndarray:
    """Decode a picture to (H, W, 3) uint8, BGR as MMDetection's transforms expect.

    Orientation tags are not applied: COCO's boxes refer to the stored pixels.

    Raises:
        UnreadableImageError: missing, truncated, or not a picture.
    """
    with open_picture(path) as image:
        rgb = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(rgb[..., ::-1])


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Put the picture at ``img_path`` into ``img``; unlike OpenCV's reader a truncated file is an error."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (H, W, 3) uint8 BGR, ``img_shape`` and ``ori_shape`` (H, W)."""
        image = read_image(results["img_path"])
        return {**results, "img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}


@DATASETS.register_module()
class CocoDetection(PassOverUnreadable, CocoDataset):
    """MMDetection's CocoDataset that passes over unreadable pictures in training."""

    def load_data_list(self) -> list[dict]:
        """Read the annotations without pycocotools' chatter."""
        with contextlib.redirect_stdout(None):
            return super().load_data_list()
