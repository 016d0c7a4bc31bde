"""What a detector's data pipeline ends with: pictures in planes of colours, and samples that travel in one piece."""

import pickle
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import FUNCTIONS, TRANSFORMS


@TRANSFORMS.register_module()
class PackSample(PackDetInputs):
    """MMDetection's PackDetInputs; OpenCV lays out the planes of colours, in a tenth of NumPy's time."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``inputs`` (3, H, W) in the picture's own type, and ``data_samples``."""
        return super().transform({**results, "img": _as_planes(results["img"])})


def _as_planes(image: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) picture whose memory is (3, H, W); one that NumPy has flipped or laid out so is no error."""
    mirrored = image.strides[1] < 0  # a view, which OpenCV would copy element by element
    image = cv2.flip(image[:, ::-1], 1) if mirrored else image
    planes = image.transpose(2, 0, 1)
    if not planes.flags.c_contiguous:
        planes = np.empty(planes.shape, dtype=image.dtype)
        cv2.split(image, list(planes))
    return planes.transpose(1, 2, 0)


@FUNCTIONS.register_module()  # type: ignore[untyped-decorator]  # MMEngine gives it no types
def collate_samples(batch: Sequence[dict[str, Any]], stack: bool = False) -> dict[str, Any]:
    """Make a batch of ``inputs`` and ``data_samples``, which another process receives as a plain list.

    Args:
        batch: what ``PackSample`` returned.
        stack: all pictures have one size: make one tensor (N, 3, H, W) of them instead of a list.
    """
    collated = (default_collate if stack else pseudo_collate)(batch)
    return {**collated, "data_samples": Samples(collated["data_samples"])}


class Samples(list[Any]):
    """The samples of a batch. PyTorch would send each of their tensors through a shared memory of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        packed = BytesIO()
        _Pickler(packed, protocol=pickle.HIGHEST_PROTOCOL).dump(list(self))
        return pickle.loads, (packed.getvalue(),)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, torch.Tensor) else NotImplemented
