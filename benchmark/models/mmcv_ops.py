"""mmcv's compiled operators, served by torchvision's kernels where mmcv was built without its own.

``mmcv.ops`` cannot even be imported without the extension module ``mmcv._ext``. :func:`install` provides a module of
that name whose ``nms``, ``softnms`` and ``roi_align`` work on the CPU and on CUDA. Every other operator can be looked
up, so that the import succeeds, and raises NotImplementedError when it is called.

A script of MMDetection's that imports ``mmdet.models`` before it reads a config runs with them too:

    python -m benchmark.models.mmcv_ops browse_dataset.py configs/ssdlite_rexnet_x1.0.py
"""

import functools
import importlib.abc
import importlib.util
import runpy
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import torch
import torchvision
from torch import Tensor
from torchvision.ops import box_iou

_EXTENSION = "mmcv._ext"


def install() -> bool:
    """Provide ``mmcv._ext`` if mmcv has none; call it before anything imports ``mmcv.ops`` or ``mmdet.models``.

    A compiled ``mmcv._ext``, imported already or only found on disk, is left as it is. Another call changes nothing.

    Returns:
        True if mmcv's operators are served by this module, by this call or an earlier one; False if mmcv has its own.

    """
    if sys.modules.get(_EXTENSION) is None:
        if importlib.util.find_spec(_EXTENSION) is not None:
            return False
        loader = _Loader()
        module = importlib.util.module_from_spec(ModuleSpec(_EXTENSION, loader, origin=__file__))
        loader.exec_module(module)
        sys.modules[_EXTENSION] = module
        vars(sys.modules["mmcv"])["_ext"] = module  # as an import would
    return isinstance(sys.modules[_EXTENSION].__loader__, _Loader)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression; among equal scores the box that comes first wins.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: a box is dropped if its IoU with a kept one is greater than this.
        offset: 0, or 1 to take a box's width for x2 - x1 + 1 and its height likewise.

    Returns:
        Indices of the kept boxes, highest score first, int64.

    """
    dtype = _compute_dtype(boxes, scores)
    # mmcv compares in single precision, where an IoU of exactly 0.6 is not greater than a threshold of 0.6.
    threshold = float(np.float32(iou_threshold))
    return torch.ops.torchvision.nms(_widen(boxes.to(dtype), offset), scores.to(dtype), threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., ICCV 2017): decay the scores of overlapping boxes, drop those that fall below a minimum.

    The highest-scoring box is always kept, and pairs of boxes without area count as not overlapping.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        dets: (N, 5) output: its first rows are overwritten with the kept boxes and their decayed scores.
        iou_threshold: the naive and the linear method decay boxes with at least this IoU.
        sigma: width of the Gaussian method's decay.
        min_score: boxes with a lower decayed score are dropped.
        method: 0 naive (ordinary NMS), 1 linear, 2 Gaussian.
        offset: as in :func:`nms`.

    Returns:
        Indices of the kept boxes in the order of selection, int64.

    """
    dtype = _compute_dtype(boxes, scores)
    widened = _widen(boxes.to(dtype), offset)
    decayed = scores.to(dtype, copy=True)
    rest = torch.arange(len(scores), device=scores.device)
    selected = []
    while len(rest):
        best = int(rest[decayed[rest].argmax()])
        selected.append(best)
        rest = rest[rest != best]
        iou = box_iou(widened[best : best + 1], widened[rest])[0].nan_to_num()
        decayed[rest] *= _DECAYS[method](iou, iou_threshold, sigma)
        rest = rest[decayed[rest] >= min_score]
    kept = torch.tensor(selected, dtype=torch.int64, device=scores.device)
    dets[: len(kept), :4] = boxes[kept].to(dets)
    dets[: len(kept), 4] = decayed[kept].to(dets)
    return kept


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (He et al., Mask R-CNN, ICCV 2017, section 3) with average pooling, written to ``output``.

    Args:
        input: (N, C, H, W) features.
        rois: (K, 5) as batch index, x1, y1, x2, y2.
        output: (K, C, aligned_height, aligned_width), overwritten.
        argmax_y: only for max pooling, not used.
        argmax_x: only for max pooling, not used.
        aligned_height: bins along the height.
        aligned_width: bins along the width.
        spatial_scale: feature cells per unit of the boxes, such as 1 / stride.
        sampling_ratio: samples along each side of a bin; 0 takes one for each feature cell that the bin spans.
        pool_mode: 1 for the average; 0, the maximum, is not served.
        aligned: shift the boxes by half a cell, so that cell i has its centre at i + 0.5.

    Raises:
        NotImplementedError: for max pooling.

    """
    _require_average(pool_mode)
    dtype = _compute_dtype(input, rois)
    pooled = torch.ops.torchvision.roi_align(
        input.to(dtype), rois.to(dtype), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` with respect to its input, written to ``grad_input``.

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        rois: as in :func:`roi_align_forward`, and so are the arguments from ``aligned_height`` on.
        argmax_y: only for max pooling, not used.
        argmax_x: only for max pooling, not used.
        grad_input: (N, C, H, W), overwritten.
        aligned_height: see above.
        aligned_width: see above.
        spatial_scale: see above.
        sampling_ratio: see above.
        pool_mode: see above.
        aligned: see above.

    Raises:
        NotImplementedError: for max pooling.

    """
    _require_average(pool_mode)
    dtype = _compute_dtype(grad_output, rois)
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def _compute_dtype(*tensors: Tensor) -> torch.dtype:
    """Return the widest dtype of the tensors, at least float32: the kernels want one dtype, and not bfloat16."""
    return functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)


def _widen(boxes: Tensor, offset: int) -> Tensor:
    """Move x2 and y2 of (N, 4) boxes out by ``offset``, so that plain widths and heights include it."""
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes


def _require_average(pool_mode: int) -> None:
    if pool_mode == 0:
        raise NotImplementedError(_message("roi_align with pool_mode='max'"))


def _message(operator: str) -> str:
    return (
        f"{operator} needs mmcv's compiled operators, and this mmcv was built without them. Build it where it sees "
        "torch: pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps onedl-mmcv"
    )


def _built_by() -> str:
    return f"not compiled, operators from torchvision {torchvision.__version__}"


def _unserved(name: str) -> Callable:
    """Stand in for an operator that torchvision does not have: the module's ``__getattr__``."""
    if name.startswith("_"):
        raise AttributeError(f"module {_EXTENSION!r} has no attribute {name!r}")

    def operator(*args: object, **kwargs: object) -> None:
        raise NotImplementedError(_message(name))

    return operator


class _Loader(importlib.abc.Loader):
    """Fills ``mmcv._ext``; a real loader, since mmcv and mmengine probe for the module through its spec."""

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the operators served here and a stand-in for any other."""
        vars(module).update(_SERVED, __getattr__=_unserved)


# Soft-NMS's methods by mmcv's number: the factor of a score, given the IoU (M,), the IoU threshold and sigma.
_DECAYS: dict[int, Callable[[Tensor, float, float], Tensor]] = {
    0: lambda iou, threshold, sigma: (iou < threshold).to(iou.dtype),
    1: lambda iou, threshold, sigma: torch.where(iou < threshold, 1.0, 1.0 - iou),
    2: lambda iou, threshold, sigma: torch.exp(-(iou**2) / sigma),
}

_SERVED: dict[str, Callable] = {
    "nms": nms,
    "softnms": softnms,
    "roi_align_forward": roi_align_forward,
    "roi_align_backward": roi_align_backward,
    "get_compiler_version": _built_by,
    "get_compiling_cuda_version": _built_by,
}


if __name__ == "__main__":
    install()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
