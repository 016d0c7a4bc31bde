"""How a batch reaches its device: in few copies, none of which a GPU's host waits for."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor


class SentAtOnce:
    """Mixed into a preprocessor of MMEngine's, which copies tensor by tensor and waits for each on a GPU."""

    device: torch.device

    def cast_data(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a batch, of ``inputs`` and perhaps ``data_samples``, to the device."""
        inputs, samples = data["inputs"], data.get("data_samples")
        return {
            **data,
            "inputs": send(inputs, self.device)
            if isinstance(inputs, Tensor)
            else [send(image, self.device) for image in inputs],
            "data_samples": samples and send_samples(samples, self.device),
        }


@MODELS.register_module()
class ClassifierPreprocessor(SentAtOnce, ImgDataPreprocessor):
    """MMEngine's ImgDataPreprocessor without its waits for a GPU."""


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, which a GPU does while the host goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def send_samples(samples: Sequence[BaseDataElement], device: torch.device) -> list[BaseDataElement]:
    """Return samples whose tensors are on a device; those of one type travel as one."""
    if device.type == "cpu":
        return [sample.to(device) for sample in samples]
    packed: dict[torch.dtype, list[Tensor]] = {}
    for tensor in chain.from_iterable(map(_tensors, samples)):
        packed.setdefault(tensor.dtype, []).append(tensor)
    arrived = {dtype: _send_as_one(tensors, device) for dtype, tensors in packed.items()}
    return [_filled(sample, arrived) for sample in samples]


def _send_as_one(tensors: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
    flat = send(torch.cat([tensor.flatten() for tensor in tensors]), device)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return iter([part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)])


def _tensors(element: BaseDataElement) -> Iterator[Tensor]:
    for value in element.values():
        if isinstance(value, BaseDataElement):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


def _filled(element: BaseDataElement, arrived: Mapping[torch.dtype, Iterator[Tensor]]) -> BaseDataElement:
    """Return an element with the next of the tensors that have arrived in place of each of its own."""
    filled = element.new()
    for name, value in element.items():
        if isinstance(value, BaseDataElement):
            filled.set_data({name: _filled(value, arrived)})
        elif isinstance(value, Tensor):
            filled.set_data({name: next(arrived[value.dtype])})
    return filled
