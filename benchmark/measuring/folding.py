"""Batch normalisation folded into the convolution before it: the same function with fewer passes over memory."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

_TOLERANCE = 1e-4  # of the largest output


def fold_batch_norm(model: nn.Module, images: Tensor) -> tuple[int, int]:
    """Fold every batch normalisation that directly follows a convolution into it, in place.

    Which does is seen in a forward pass. timm's normalisations that hold an activation leave it behind.

    Args:
        model: in eval mode.
        images: (N, 3, H, W), for that pass.

    Returns:
        How many normalisations were folded, and how many are left.

    Raises:
        RuntimeError: the outputs moved by more than 1e-4 of the largest, so something else uses a folded output.
    """
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        before = list(_tensors(model(images)))
        pairs = _conv_norm_pairs(model, images)
        for conv_path, norm_path in pairs:
            conv = cast(nn.Conv2d, model.get_submodule(conv_path))
            norm = cast(_BatchNorm, model.get_submodule(norm_path))
            model.set_submodule(conv_path, fuse_conv_bn_eval(conv, norm))
            model.set_submodule(norm_path, getattr(norm, "act", nn.Identity()))
        after = list(_tensors(model(images)))
    for old, new in zip(before, after, strict=True):
        if (old - new).abs().max() > _TOLERANCE * max(1.0, float(old.abs().max())):
            raise RuntimeError(f"Folding changed an output by {float((old - new).abs().max()):.2g}.")
    return len(pairs), sum(isinstance(module, _BatchNorm) for module in model.modules())


def _conv_norm_pairs(model: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Run the model and return the paths of each convolution whose output a batch normalisation takes, and of that."""
    made: dict[int, tuple[str, Tensor]] = {}  # the tensors are kept, so that no two share an id
    pairs: list[tuple[str, str]] = []

    def keep(path: str, output: Tensor) -> None:
        made[id(output)] = (path, output)

    def pair(path: str, taken: Tensor) -> None:
        if id(taken) in made:
            pairs.append((made[id(taken)][0], path))

    handles = []
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(lambda _, args, output, path=path: keep(path, output)))
        elif isinstance(module, _BatchNorm):
            handles.append(module.register_forward_pre_hook(lambda _, args, path=path: pair(path, args[0])))
    model(images)
    for handle in handles:
        handle.remove()
    # A layer that runs several times cannot be folded.
    convs, norms = Counter(conv for conv, _ in pairs), Counter(norm for _, norm in pairs)
    return [(conv, norm) for conv, norm in pairs if convs[conv] == norms[norm] == 1]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
