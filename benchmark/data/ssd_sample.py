"""SSD's training sample in one pass: what is seen is drawn from the boxes before anything is decoded.

Source: Liu et al., SSD, ECCV 2016, section 2.2, "Data augmentation", and section 3.6 (expansion). The numbers are drawn
as MMDetection's Expand, MinIoURandomCrop, Resize, RandomFlip and PhotoMetricDistortion draw them, and mean the same.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import TRANSFORMS

from benchmark.data.transforms import read_annotated

_TRIES = 50  # patches drawn for one minimum overlap, before another one is drawn
_ROUNDS = 4  # minimum overlaps whose patches are drawn at once
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_WHOLE = 1  # among the minimum overlaps: take everything


class Expansion(NamedTuple):
    """A canvas around a picture: its size, and where on it the picture begins, in pixels."""

    height: int
    width: int
    left: int
    top: int


@TRANSFORMS.register_module()
class SSDSample(BaseTransform):
    """Decode the picture at ``img_path`` as SSD trains on it, with its boxes.

    The picture lies on a larger canvas, is cropped around some of its objects, resized, flipped and distorted in its
    colours. The distortion comes last: on the small picture it costs a fraction of what it costs on the large one.

    Args:
        size: side of the result in pixels.
        mean: colour of the canvas, RGB in 0..255: that of the backbone's preprocessing.
        augment: False only resizes and flips.
        expand_prob: probability of a canvas.
        ratio_range: its smallest and largest side, in sides of the picture.
        min_ious: least overlaps (IoU) of a crop with every box, one of which is drawn; besides them no crop at all,
            and a crop of any overlap.
        min_crop_size: least side of a crop, in sides of the canvas.
        flip_prob: probability of a horizontal flip.
        brightness_delta: most that is added to or taken from all values, of 255.
        contrast_range: least and largest factor of all values.
        saturation_range: least and largest factor of the saturation.
        hue_delta: most that the hue is turned, in degrees.
    """

    def __init__(
        self,
        size: int,
        mean: Sequence[float] | None = None,
        augment: bool = True,
        expand_prob: float = 0.5,
        ratio_range: tuple[float, float] = (1, 4),
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        flip_prob: float = 0.5,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: float = 18,
    ) -> None:
        self.size, self.augment = size, augment
        red, green, blue = (round(value) for value in mean or _IMAGENET_MEAN)
        self.fill = blue, green, red
        self.expand_prob, self.ratio_range = expand_prob, ratio_range
        self.least_overlaps = (_WHOLE, *min_ious, 0)
        self.min_crop_size, self.flip_prob = min_crop_size, flip_prob
        self.brightness_delta, self.hue_delta = brightness_delta, hue_delta
        self.contrast_range, self.saturation_range = contrast_range, saturation_range
        # Memory that is used again and again: new one costs more than what is computed in it.
        self._scratch = np.empty((2, size, size, 3), dtype=np.float32)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (size, size, 3) float32 BGR, ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags`` and more.

        Raises:
            UnreadableImageError: see ``read_annotated``; or damaged.
        """
        encoded = read_annotated(results)
        objects = results["instances"]
        boxes = np.array([each["bbox"] for each in objects], dtype=np.float32).reshape(-1, 4)
        patch, boxes, kept = self.choose(boxes, *encoded.shape)
        image = cv2.resize(cut_out(encoded.decode(), patch, self.fill), (self.size, self.size))
        scale = self.size / (patch[2] - patch[0]), self.size / (patch[3] - patch[1])
        boxes = (boxes * np.array(scale * 2, dtype=np.float32)).clip(0, self.size)
        flip = np.random.uniform() < self.flip_prob
        if flip:
            image = cv2.flip(image, 1)
            boxes[:, 0::2] = self.size - boxes[:, 2::-2]
        return {
            **results,
            "img": self.distort(image) if self.augment else image,
            "img_shape": image.shape[:2],
            "ori_shape": encoded.shape,
            "scale_factor": scale,
            "flip": flip,
            "flip_direction": "horizontal" if flip else None,
            "gt_bboxes": HorizontalBoxes(boxes),
            "gt_bboxes_labels": np.array([each["bbox_label"] for each in objects], dtype=np.int64)[kept],
            "gt_ignore_flags": np.array([each["ignore_flag"] for each in objects], dtype=bool)[kept],
        }

    def choose(self, boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw what is seen of a picture and of the canvas around it.

        Args:
            boxes: (N, 4) float32, xyxy in pixels.
            height: of the picture in pixels.
            width: likewise.

        Returns:
            The patch that is seen, (4,) xyxy in whole pixels of the picture, in parts outside of it where there is a
            canvas; the boxes whose centre is in it, (M, 4) in its own pixels; and which they are, (N,) of bool.
        """
        if not self.augment:
            return np.array([0, 0, width, height]), boxes, np.ones(len(boxes), dtype=bool)
        canvas = self.draw_expansion(height, width)
        on_canvas = boxes + np.array([canvas.left, canvas.top] * 2, dtype=np.float32)
        patch, kept = self.draw_crop(on_canvas, canvas.height, canvas.width)
        seen = on_canvas[kept] - np.tile(patch[:2], 2).astype(np.float32)
        width, height = patch[2:] - patch[:2]
        return patch - [canvas.left, canvas.top] * 2, seen.clip(0, [width, height] * 2), kept

    def draw_expansion(self, height: int, width: int) -> Expansion:
        """Draw the canvas of a picture; in most cases the picture itself."""
        if np.random.uniform() > self.expand_prob:
            return Expansion(height, width, 0, 0)
        ratio = np.random.uniform(*self.ratio_range)
        left, top = (int(np.random.uniform(0, side * ratio - side)) for side in (width, height))
        return Expansion(int(height * ratio), int(width * ratio), left, top)

    def draw_crop(self, boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a part of a picture that holds the centre of a box, and the least overlap of all boxes with it.

        Returns:
            (4,) xyxy in whole pixels, and the boxes whose centre lies in it: (N,) of bool.
        """
        across, down = (boxes[:, :2] + boxes[:, 2:]).T / 2  # the centres
        while True:
            least = np.random.choice(self.least_overlaps, size=_ROUNDS)
            patches, allowed = self._draw_patches(height, width)  # (rounds * tries, 4), (rounds * tries,)
            x1, y1, x2, y2 = patches.T[..., None]
            inside = (across > x1) & (across < x2) & (down > y1) & (down < y2)  # (rounds * tries, N)
            if len(boxes):
                overlaps = _overlaps(patches, boxes).min(axis=1)
                allowed &= inside.any(axis=1) & (overlaps >= least.repeat(_TRIES))
            uncropped = np.flatnonzero(least == _WHOLE) * _TRIES  # the first of their tries succeed
            patches[uncropped], inside[uncropped], allowed[uncropped] = (0, 0, width, height), True, True
            first = allowed.argmax()
            if allowed[first]:
                return patches[first], inside[first]

    def distort(self, image: np.ndarray) -> np.ndarray:
        """Distort the colours of an (H, W, 3) uint8 BGR picture; the result is float32 and may leave 0..255."""
        contrast_last, *flags = np.random.randint(2, size=6) == [0, 1, 1, 1, 1, 1]
        brighter, contrasted, saturated, turned, swapped = flags
        delta = np.random.uniform(-self.brightness_delta, self.brightness_delta)
        contrast = np.random.uniform(*self.contrast_range) ** contrasted
        saturation = np.random.uniform(*self.saturation_range) ** saturated
        hue = np.random.uniform(-self.hue_delta, self.hue_delta) * turned % 360
        order = np.random.permutation(3) if swapped else np.arange(3)
        one, other = self._scratch
        one[:] = image
        one += delta * brighter
        if not contrast_last:
            one *= contrast
        cv2.cvtColor(one, cv2.COLOR_BGR2HSV, dst=other)  # hue in 0..360, saturation in 0..1
        turn = np.array([[1, 0, 0, hue], [0, saturation, 0, 0], [0, 0, 1, 0]], dtype=np.float32)
        cv2.transform(other, turn, dst=one)
        if saturation > 1:
            cv2.min(one, (np.inf, 1.0, np.inf, np.inf), dst=one)  # type: ignore[call-overload]  # a scalar per channel
        cv2.cvtColor(one, cv2.COLOR_HSV2BGR, dst=other)  # a hue from 360 on begins again
        if contrast_last:
            other *= contrast
        planes = np.empty((3, *image.shape[:2]), dtype=np.float32)
        cv2.split(other, [planes[place] for place in order.argsort()])
        return planes.transpose(1, 2, 0)

    def _draw_patches(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw (rounds * tries, 4) patches in whole pixels; and tell which are not empty, nor too long or too high."""
        share, place = np.random.uniform(size=(2, _ROUNDS * _TRIES, 2))
        sides = np.array([width, height])
        extent = sides * (self.min_crop_size + (1 - self.min_crop_size) * share)
        room = sides - extent
        # MMDetection calls uniform(room), which draws between room and 1 px, NumPy's default for the other end.
        start = room + (1 - room) * place
        patches = np.concatenate([start, start + extent], axis=1).astype(int)
        aspect = extent[:, 1] / extent[:, 0]
        return patches, (aspect >= 0.5) & (aspect <= 2) & (patches[:, 2:] > patches[:, :2]).all(axis=1)


def cut_out(image: np.ndarray, patch: np.ndarray, fill: tuple[int, int, int]) -> np.ndarray:
    """Return a patch, xyxy in pixels, of a picture (H, W, 3), in parts outside of it ``fill``."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = patch.tolist()
    left, top, right, bottom = max(-x1, 0), max(-y1, 0), max(x2 - width, 0), max(y2 - height, 0)
    seen = image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    if not (left or top or right or bottom):
        return seen
    if not seen.size:
        return np.full((y2 - y1, x2 - x1, 3), fill, dtype=np.uint8)
    return cv2.copyMakeBorder(seen, top, bottom, left, right, cv2.BORDER_CONSTANT, value=fill)


def _overlaps(patches: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the IoU of patches (P, 4) with boxes (N, 4): (P, N) float32."""
    x1, y1, x2, y2 = patches.astype(np.float32).T[..., None]  # (P, 1)
    left, top, right, bottom = boxes.T  # (N,)
    width = (np.minimum(x2, right) - np.maximum(x1, left)).clip(0)
    shared = width * (np.minimum(y2, bottom) - np.maximum(y1, top)).clip(0)
    union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
    return shared / np.maximum(union, np.float32(1e-6))
