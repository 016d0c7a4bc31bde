"""timm's models: an entry from timm's own records, for rows of the families and for any other model."""

import functools
from collections.abc import Iterable
from typing import Any, cast

import timm
import torch
from timm.models import PretrainedCfg
from timm.utils import reparameterize_model
from torch import nn

from backbones.entry import Channels, Entry, FeatureNetwork, Preprocessing, Taps, channels_of, last_taps
from backbones.errors import UserError, did_you_mean

fuse_branches = functools.partial(reparameterize_model, inplace=True)
_FUSES = ("fuse", "reparameterize", "switch_to_deploy")  # what timm calls, of the modules that have it
_PYRAMID = (4, 8, 16, 32)
_DRY_RUN_SIZES = ((320, 320), (416, 608))  # px, height and width: a square hides maps that are resized to even sides


def timm_record(model: str) -> PretrainedCfg:
    """Return timm's record of a model's weights.

    Raises:
        RuntimeError: timm has no such weights.
    """
    record = timm.get_pretrained_cfg(model, allow_unregistered=False)
    assert record is not None  # what is not registered was refused
    return record


def timm_entry(model: str, paper: str, channels: Channels | None, ssdlite: Taps | None, **more: Any) -> Entry:
    """Return the entry of a model of timm; preprocessing and licence of its weights are in timm's record of them.

    Args:
        model: timm's name.
        paper: as in ``Entry``, like the rest.
        channels: likewise.
        ssdlite: likewise.
        more: other fields of ``Entry``.
    """
    record = timm_record(model)
    return Entry(
        functools.partial(timm.create_model, model),
        paper,
        channels,
        ssdlite,
        preprocessing=Preprocessing(
            _rgb(record.mean), _rgb(record.std), record.interpolation, record.crop_pct, record.crop_mode == "squash"
        ),
        timm=model,
        licence=record.license,
        **more,
    )


def _rgb(values: Iterable[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


@functools.cache
def read_timm_model(model: str) -> Entry:
    """Make an entry of timm's own records of a model; one without a usable pyramid can classify.

    Raises:
        UserError: timm has no such model, or no such weights of it.
    """
    if not timm.is_model(model):
        raise UserError(f"timm {timm.__version__} has no model {model!r}.{did_you_mean(model, timm.list_models())}")
    try:
        resolution = timm_record(model).input_size[-1]
    except RuntimeError as error:
        raise UserError(f"timm {timm.__version__} cannot build {model!r}: {error}") from error
    fuse = None
    try:
        net = _build_on_meta(model)
        if any(hasattr(module, method) for module in net.modules() for method in _FUSES):
            fuse = fuse_branches
        levels = _read_levels(net)
    except _UnfitError as error:
        return timm_entry(model, f"timm's {model}", None, None, why_not=str(error), resolution=resolution, fuse=fuse)
    channels = channels_of(levels[stride]["num_chs"] if stride in levels else 0 for stride in (2, *_PYRAMID))
    taps = last_taps((levels[stride]["module"], levels[stride]["num_chs"]) for stride in (16, 32))
    return timm_entry(model, f"timm's {model}", channels, taps, resolution=resolution, fuse=fuse)


class _UnfitError(Exception):
    """Why a model cannot feed a detector."""


def _build_on_meta(model: str) -> nn.Module:
    try:
        with torch.device("meta"):
            return timm.create_model(model).eval()
    except Exception as error:  # every model has its own for a device it does not take
        raise _UnfitError(f"it cannot be built without memory ({_one_line(error)})") from error


def _read_levels(net: nn.Module) -> dict[int, dict]:
    """Return stride -> timm's record of a feature map, for the maps that a dry run found to be as recorded.

    Raises:
        _UnfitError: there is no such record, or not every map is as recorded.
    """
    info = getattr(net, "feature_info", None)
    dicts = info if isinstance(info, list) else info.get_dicts() if info else []
    levels = {level["reduction"]: level for level in dicts}
    missing = [stride for stride in _PYRAMID if stride not in levels]
    if missing:
        found = ", ".join(str(stride) for stride in levels) or "none"
        raise _UnfitError(f"it has no feature map at stride {missing[0]} (it has: {found})")
    _dry_run(net, [levels[stride] for stride in _PYRAMID])
    return levels


def _dry_run(net: nn.Module, levels: list[dict]) -> None:
    """Run a network on the meta device, since not every model of timm gives the maps of its own record.

    Raises:
        _UnfitError: modules of the record are missing, the network does not take a size, or maps have another shape.
    """
    shapes: dict[int, tuple[int, ...]] = {}
    for height, width in _DRY_RUN_SIZES:
        at = f"on a {height}x{width} image"
        try:
            hooks = [
                net.get_submodule(level["module"]).register_forward_hook(
                    lambda module, args, output, stride=level["reduction"]: shapes.update({stride: tuple(output.shape)})
                )
                for level in levels
            ]
            with torch.no_grad():
                cast(FeatureNetwork, net).forward_features(torch.zeros(1, 3, height, width, device="meta"))
        except Exception as error:  # every model has its own for an input it does not take
            raise _UnfitError(f"{at} it fails ({_one_line(error)})") from error
        for hook in hooks:
            hook.remove()
        for level in levels:
            stride = level["reduction"]
            expected, found = (1, level["num_chs"], height // stride, width // stride), shapes.get(stride)
            if found != expected:
                raise _UnfitError(f"{at} its map at stride {stride} is {found}, expected {expected} (N, C, H, W)")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")
