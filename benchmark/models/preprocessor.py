"""MMDetection's preprocessor of detectors' batches, without its waits for a GPU."""

from collections.abc import Mapping
from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.registry import MODELS
from torch import Tensor

from benchmark.models.transfer import SentAtOnce


@MODELS.register_module()
class DetectorPreprocessor(SentAtOnce, DetDataPreprocessor):
    """MMDetection's DetDataPreprocessor without its waits for a GPU, and its numbers.

    Args:
        bgr_to_rgb: reverse the order of the colours.
        options: of MMDetection's.
    """

    def __init__(self, *, bgr_to_rgb: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.bgr_to_rgb = bgr_to_rgb

    def cast_data(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a batch to the device, its boxes as plain tensors, and put its colours in order."""
        samples = data.get("data_samples")
        if samples and self.boxtype2tensor:
            samplelist_boxtype2tensor(samples)
        sent = super().cast_data(data)
        if self.bgr_to_rgb:  # by an index, as in MMDetection, the host would send the index and wait
            inputs = sent["inputs"]
            sent["inputs"] = (
                inputs.flip(1) if isinstance(inputs, Tensor) else [image.flip(0) for image in inputs]
            )  # (N, 3, H, W), or (3, H, W) each
        return sent
