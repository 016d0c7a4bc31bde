"""Training precision: fp32, or autocast to bf16 or fp16, on any device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from backbones.errors import UserError

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, device: str | None = None) -> torch.device:
    """Return a device, ``cpu`` or ``cuda``; this process's unless one is named.

    Raises:
        UserError: no such device, or a precision of ``PRECISIONS`` that it does not have.
    """
    device = torch.device(device or get_device())
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch finds no GPU here: give --device cpu.")
    if precision == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU: give --precision bf16 or fp32 on a CPU.")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError(f"{torch.cuda.get_device_name()} has no bf16: give --precision fp16 or fp32.")
    return device


def check_speed(precision: str, *, slow_ok: bool, device: str | None = None) -> torch.device:
    """Check that a precision is not much slower than fp32 on a device, and return it as ``check_precision`` does.

    Raises:
        UserError: bf16 on a CPU that has no instructions for it, unless ``slow_ok``; or ``slow_ok`` without bf16.
    """
    if slow_ok and precision != "bf16":
        raise UserError(f"--slow-ok is for --precision bf16, found {precision}: leave it out.")
    found = check_precision(precision, device)
    if precision == "bf16" and found.type == "cpu" and not slow_ok and not _is_bf16_fast():
        raise UserError(
            "This CPU has no instructions for bf16, which is some ten times slower here than fp32: give "
            "--precision bf16 --slow-ok to take it nonetheless, or --precision fp32."
        )
    return found


def _is_bf16_fast() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def autocast(precision: str, device: str | None = None) -> Iterator[None]:
    """Run the block in a precision of ``PRECISIONS``; the rest as in ``check_precision``."""
    dtype = PRECISIONS[precision]
    with torch.autocast(check_precision(precision, device).type, dtype=dtype, enabled=dtype is not None):
        yield


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """MMEngine's OptimWrapper whose forward pass runs in autocast; fp16 scales its loss.

    Args:
        precision: a key of ``PRECISIONS``.
        kwargs: of MMEngine's OptimWrapper.
    """

    def __init__(self, precision: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.precision = precision
        self.scaler = torch.amp.GradScaler(check_precision(precision).type, enabled=precision == "fp16")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast the forward pass."""
        with super().optim_context(model), autocast(self.precision):
            yield

    def accumulate(self, parts: int) -> None:
        """Update the parameters by the mean of every so many losses, from the next one on."""
        self._accumulative_counts, self._inner_count, self._max_counts = parts, 0, -1

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Propagate the scaled loss back."""
        super().backward(self.scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Update the parameters, unless a scaled gradient overflowed."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def state_dict(self) -> dict:
        """Return the optimizer's state and the scaler's."""
        return {**super().state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what ``state_dict`` gave, in the parameters' memory format.

        PyTorch's fused optimizers on the CPU take it for granted, and compute something else where it differs.
        """
        state = dict(state_dict)
        self.scaler.load_state_dict(state.pop("scaler"))
        super().load_state_dict(state)
        for parameter, own in self.optimizer.state.items():
            for name, value in own.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    own[name] = torch.empty_like(parameter).copy_(value)
