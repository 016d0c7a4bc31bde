"""The paper's transforms: random resized crop and flip in training, resize and centre crop in evaluation.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that still holds every pixel that the result needs: the
crop is chosen from the picture's header, before a pixel is decoded.
"""

import math
from collections.abc import Sequence
from typing import Any

from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from backbones.errors import UserError
from benchmark.data.decode import Encoded, UnreadableImageError, open_picture, read_encoded, to_rgb

# In evaluation a reduced picture keeps twice the pixels needed, so that the reduction leaves no trace in the figures.
_EVAL_MARGIN = 2.0


def decode_reduced(image: Image.Image, width: float, height: float) -> Image.Image:
    """Decode an opened picture to RGB, at no less than the given size in pixels where its format can be reduced.

    Orientation tags are not applied: torchvision and timm, whose figures and weights ours are compared with, do not.
    """
    image.draft("RGB", (math.ceil(width), math.ceil(height)))
    return to_rgb(image)


@TRANSFORMS.register_module()
class DecodeRandomCrop(BaseTransform):
    """Decode a random part of the picture at ``img_path`` into ``img``, an RGB picture of ``size`` x ``size``.

    Args:
        size: side in pixels.
        area: smallest and largest share of the picture's area.
        interpolation: as in the record of the weights, ``bicubic`` say.
        flip: probability of a horizontal flip.
    """

    def __init__(
        self, size: int, interpolation: str, area: tuple[float, float] = (0.08, 1.0), flip: float = 0.5
    ) -> None:
        self.size, self.area = size, area
        self.ratio = (3 / 4, 4 / 3)
        self.interpolation = InterpolationMode(interpolation)
        self.flip = v2.RandomHorizontalFlip(flip)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``."""
        with open_picture(results["img_path"]) as image:
            top, left, height, width = v2.RandomResizedCrop.get_params(image, self.area, self.ratio)
            full = image.size
            image = decode_reduced(image, full[0] * self.size / width, full[1] * self.size / height)
        x, y = image.width / full[0], image.height / full[1]
        box = (round(top * y), round(left * x), max(1, round(height * y)), max(1, round(width * x)))
        crop = F.resized_crop(image, *box, [self.size, self.size], self.interpolation)
        return {**results, "img": self.flip(crop)}


@TRANSFORMS.register_module()
class DecodeCenterCrop(BaseTransform):
    """Decode the picture at ``img_path``, resize its shorter side and cut ``size`` x ``size`` from its centre.

    Args:
        size: side of the cut in pixels.
        resize: length of the shorter side before the cut, in pixels.
        interpolation: as in the record of the weights, ``bicubic`` say.
        squash: resize both sides to that length, whatever the picture's shape.
    """

    def __init__(self, size: int, resize: int, interpolation: str, squash: bool = False) -> None:
        self.resize = resize
        sides = (resize, resize) if squash else resize
        self.crop = v2.Compose([v2.Resize(sides, InterpolationMode(interpolation)), v2.CenterCrop(size)])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``."""
        with open_picture(results["img_path"]) as image:
            scale = _EVAL_MARGIN * self.resize / min(image.size)
            image = decode_reduced(image, image.width * scale, image.height * scale)
        return {**results, "img": self.crop(image)}


@TRANSFORMS.register_module()
class TimmRandAugment(BaseTransform):
    """Apply timm's RandAugment (Cubuk et al., RandAugment, 2019) to the picture in ``img``.

    Args:
        policy: as timm writes it: ``rand-m9-mstd0.5`` is magnitude 9 with a standard deviation of 0.5, two operations.
        size: side of the picture in pixels.
        mean: RGB in 0..255 that fills what a shift or a rotation uncovers.

    Raises:
        UserError: no such policy.
    """

    def __init__(self, policy: str, size: int, mean: Sequence[float]) -> None:
        # As timm's own pipeline has it: a shift is of 45% at most, an operation's interpolation is drawn each time.
        settings = {"translate_const": int(0.45 * size), "img_mean": tuple(round(value) for value in mean)}
        try:
            self.augment = rand_augment_transform(policy, settings)
        except (AssertionError, ValueError) as error:
            raise UserError(f"RandAugment has no policy {policy!r}: expected one such as rand-m9-mstd0.5.") from error

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``."""
        return {**results, "img": self.augment(results["img"])}


@TRANSFORMS.register_module()
class PackClassInputs(BaseTransform):
    """Make the classifier's input: the picture as (3, H, W) uint8, and its path, place and label."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``inputs`` and ``data_samples``."""
        sample = BaseDataElement(
            metainfo={
                "img_path": results["img_path"],
                "img_id": results["sample_idx"],
                "gt_label": results["gt_label"],
                "real_labels": results.get("real_labels"),
            }
        )
        return {"inputs": F.pil_to_tensor(results["img"]), "data_samples": sample}


def read_annotated(sample: dict[str, Any]) -> Encoded:
    """Read the file of a data set's sample, without decoding its pixels.

    Args:
        sample: ``img_path`` and, where they are known, ``height`` and ``width``.

    Raises:
        UnreadableImageError: not a picture, or one of another size than ``height`` and ``width``.
    """
    annotated = (sample["height"], sample["width"]) if "height" in sample and "width" in sample else None
    encoded = read_encoded(sample["img_path"], annotated)
    height, width = encoded.shape
    if annotated not in (None, encoded.shape):
        raise UnreadableImageError(
            f"Image {encoded.path} is {width}x{height}, its annotation says {sample['width']}x{sample['height']}: "
            "its boxes would lie elsewhere. Restore it, or fix that."
        )
    return encoded


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Put the picture at ``img_path`` into ``img``; unlike OpenCV's reader a truncated file is an error."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (H, W, 3) uint8 BGR, ``img_shape`` and ``ori_shape`` (H, W).

        Raises:
            UnreadableImageError: see ``read_annotated``; or damaged.
        """
        encoded = read_annotated(results)
        return {**results, "img": encoded.decode(), "img_shape": encoded.shape, "ori_shape": encoded.shape}
