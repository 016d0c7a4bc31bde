"""Pretrained weights: from an installed package, from timm's hub, or from a file.

Nothing here unpickles more than tensors, and nothing loads in part: a file either fits or is an error that names the
first keys that do not. The classifier alone may be left out, and that is logged.
"""

import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import get_torch_safe_globals
from torch import Tensor, nn

from backbones.catalogue import find_entry
from backbones.errors import UserError

# Prefixes of a backbone's names in the checkpoints of detectors and classifiers, the longer first.
_PREFIXES = ("backbone.net.", "backbone.")
_CONTAINERS = ("state_dict_ema", "state_dict", "model")
_SHOWN = 3


def load_pretrained(net: nn.Module, full: nn.Module, name: str, source: str) -> None:
    """Load weights into ``net``, the part of a network that a backbone uses.

    Args:
        net: the network to fill; its parameters are a subset of those of ``full``.
        full: the whole network, on any device; only its names and shapes are read.
        name: the backbone's name.
        source: ``imagenet`` (the installed package if there is one for this backbone, else timm's hub), or a .pth or
            .safetensors file in our key layout, timm's, or the authors' own (same tensors in the same order).

    Raises:
        UserError: no such weights, no network, an unreadable or unsafe file, or keys or shapes that do not fit.
    """
    if source == "imagenet":
        state, origin = _imagenet(name)
    else:
        state, origin = read_state_dict(Path(source)), source
    expected = full.state_dict()
    classifier = _classifier_keys(full, expected)
    state = _rename(state, expected, classifier)
    _check(state, net.state_dict(), expected, classifier, f"{origin} into {name}")
    wanted = net.state_dict().keys() - {key for key in classifier if not _same_shape(state, expected, key)}
    net.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    left_out = sorted(classifier - wanted)
    note = f"; classifier left out ({', '.join(left_out)})" if left_out else ""
    print_log(f"Pretrained weights: {origin} into {name}, {len(wanted)} tensors{note}.", logger="current")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or .pth file without running anything that a pickle may hold."""
    if not path.is_file():
        raise UserError(f"Weights not found: {path}. Give an existing .pth or .safetensors file, or 'imagenet'.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals(get_torch_safe_globals()):  # the logs in a run's own checkpoint
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{path} is not a file of tensors alone; unpickling anything else could run code, so it was not read. "
            "Save its state dict alone, or as .safetensors."
        ) from error
    except Exception as error:  # every reader has its own exceptions for a file that is not its format
        reason = str(error).partition("\n")[0] or "it is empty"
        raise UserError(
            f"{path} is not a readable .pth or .safetensors file ({type(error).__name__}: {reason})."
        ) from error
    for container in _CONTAINERS:
        if isinstance(state, Mapping) and isinstance(state.get(container), Mapping):
            state = state[container]
            break
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds a {type(state).__name__}, expected a state dict of tensors.")
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no tensors, expected a state dict.")
    return tensors


def _imagenet(name: str) -> tuple[dict[str, Tensor], str]:
    entry = find_entry(name)
    package, file = entry.package or (None, None)
    if package and (spec := importlib.util.find_spec(package)):
        return read_state_dict(Path(spec.origin).parent / file), f"package {package}"
    model_name = entry.timm
    if model_name is None or not timm.get_pretrained_cfg(model_name).has_weights:
        raise UserError(
            f"There are no ImageNet weights for {name} on timm's hub. Download its authors' file and give "
            "its path instead, or train from scratch with pretrained 'none'."
        )
    try:
        model = timm.create_model(model_name, pretrained=True)
    except Exception as error:  # whatever the hub's client raises without a network
        raise UserError(
            f"Could not get timm's weights {model_name!r} for {name} from the hub ({type(error).__name__}). "
            "Check the network, give the path of a downloaded file, or train from scratch with pretrained 'none'."
        ) from error
    return model.state_dict(), f"timm {model_name}"


def _classifier_keys(full: nn.Module, expected: Mapping[str, Tensor]) -> set[str]:
    prefix = getattr(full, "pretrained_cfg", {}).get("classifier", "head.fc")
    prefixes = (prefix,) if isinstance(prefix, str) else tuple(prefix)
    return {key for key in expected if key.rpartition(".")[0] in prefixes}


def _rename(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], classifier: set[str]) -> dict[str, Tensor]:
    """Bring the keys to our layout: take the backbone out of a model, else match a foreign layout tensor by tensor."""
    state = {key.removeprefix("module."): value for key, value in state.items()}
    prefix = next((prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in state)), "")
    state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if state.keys() & (expected.keys() - classifier):
        return state
    return _match_in_order(state, expected, classifier) or state


def _match_in_order(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], classifier: set[str]
) -> dict[str, Tensor] | None:
    """Pair tensors by position; None unless every pair agrees in kind (weight, bias, ...) and shape."""
    ours = [key for key in expected if not key.endswith("num_batches_tracked")]
    theirs = [key for key in state if not key.endswith("num_batches_tracked")]
    if len(theirs) == len(ours) - len(classifier):
        ours = [key for key in ours if key not in classifier]
    if len(theirs) != len(ours):
        return None
    matched = {}
    for our_key, their_key in zip(ours, theirs, strict=True):
        tensor = state[their_key]
        if our_key in classifier:
            tensor = tensor.flatten(1) if tensor.dim() == 4 else tensor  # (classes, C, 1, 1) -> (classes, C)
        elif tensor.shape != expected[our_key].shape or our_key.rpartition(".")[2] != their_key.rpartition(".")[2]:
            return None
        matched[our_key] = tensor
    return matched


def _check(
    state: Mapping[str, Tensor],
    needed: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    classifier: set[str],
    what: str,
) -> None:
    without_classifier = {key: value for key, value in state.items() if key not in classifier}
    required = {key for key in needed if not key.endswith("num_batches_tracked")} - classifier
    misfit = describe_misfit(without_classifier, required, expected)
    if misfit:
        raise UserError(f"Weights do not fit, {what}: {misfit}.")


def describe_misfit(state: Mapping[str, Tensor], required: Collection[str], expected: Mapping[str, Tensor]) -> str:
    """Count and name the first tensors of ``state`` that do not fit, or return an empty string.

    Args:
        state: the tensors found.
        required: keys that must be there.
        expected: all keys that may be there, with tensors of the right shapes.
    """
    problems = {
        "missing": [key for key in expected if key in required and key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
            for key in expected
            if key in state and not _same_shape(state, expected, key)
        ],
    }
    return "; ".join(
        f"{len(keys)} {kind} (first: {', '.join(keys[:_SHOWN])})" for kind, keys in problems.items() if keys
    )


def _same_shape(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], key: str) -> bool:
    return key in state and state[key].shape == expected[key].shape
