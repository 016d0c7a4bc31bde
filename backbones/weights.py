"""Pretrained weights: where they come from, under which licence, and which of a file's tensors is which of ours.

``backbones.tensors`` reads the files, also those that a hub has downloaded. Nothing loads in part: a file either fits
or is an error that names the first keys that do not. The classifier alone may be left out, and that is logged.
"""

import importlib.util
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from mmengine.logging import print_log
from torch import Tensor, nn

from backbones.catalogue import build_network, find_entry
from backbones.entry import Entry, describe_licence
from backbones.errors import UserError
from backbones.tensors import describe_misfit, first_not_finite, named_sha256, read_state_dict
from backbones.timm_models import timm_record

# Prefixes of a backbone's names in the checkpoints of detectors and classifiers, the longer first.
_PREFIXES = ("backbone.net.", "backbone.")
_LONGEST_WAIT = 30.0  # s, for a server
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # of timm's repositories, the first that is there


def load_pretrained(net: nn.Module, name: str, source: str) -> None:
    """Load weights into ``net``, the part of a network that a backbone uses; see ``find_weights``."""
    state, origin, left_out = find_weights(net, name, source)
    net.load_state_dict(state, strict=False)
    note = f"; classifier left out ({', '.join(left_out)})" if left_out else ""
    print_log(f"Pretrained weights: {origin} into {name}, {len(state)} tensors{note}.", logger="current")


def find_weights(net: nn.Module, name: str, source: str) -> tuple[dict[str, Tensor], str, list[str]]:
    """Read weights for ``net``, and say where they come from and which keys of the classifier are left out.

    Args:
        net: the network to fill, on any device; its parameters are a subset of the whole network's.
        name: the backbone's name.
        source: ``imagenet`` (the first source in the backbone's entry that has weights), or a .pth or .safetensors file
            in our key layout, timm's, or the authors' own (same tensors in the same order).

    Raises:
        UserError: no such weights, no network, an unreadable or unsafe file, keys or shapes that do not fit, or
            values that are not finite.
    """
    if source == "imagenet":
        state, origin = _imagenet(name, find_entry(name))
    else:
        state, origin = read_state_dict(Path(source)), source
    with torch.device("meta"):
        expected = build_network(name).state_dict()
    classifier = _classifier_keys(name)
    state = _rename(state, expected, classifier)
    needed = net.state_dict()
    _check(state, needed, expected, classifier, f"{origin} into {name}")
    if broken := first_not_finite(state):
        raise UserError(f"Weights of {origin} for {name} are not finite: {broken} holds a NaN or an infinity.")
    fits = {key for key in classifier if key in state and key in needed and state[key].shape == needed[key].shape}
    wanted = needed.keys() - (classifier - fits)
    return {key: state[key] for key in wanted if key in state}, origin, sorted(classifier - wanted)


def _imagenet(name: str, entry: Entry) -> tuple[dict[str, Tensor], str]:
    """Return the ImageNet weights of a backbone, and where they come from."""
    licence = f" ({describe_licence(entry.licence)})"
    package, file = entry.package or ("", "")
    if package and (spec := importlib.util.find_spec(package)) and spec.origin:
        return read_state_dict(Path(spec.origin).parent / file), f"package {package}{licence}"
    if entry.timm and timm_record(entry.timm).has_weights:
        return _from_timm(name, entry.timm), f"timm {entry.timm}{licence}"
    if entry.url:
        return read_state_dict(_download(entry.url, name)), f"{entry.url}{licence}"
    raise UserError(
        f"No ImageNet weights are known for {name}. Download its authors' file and give its path instead, or train "
        "from scratch with pretrained 'none'."
    )


def _from_timm(name: str, model: str) -> dict[str, Tensor]:
    """Return the state dict of a model of timm with its pretrained weights, whose file is read here and not by timm."""
    record = timm_record(model)
    if record.hf_hub_id:
        path = _download_from_hub(record.hf_hub_id, record.hf_hub_filename, name)
    else:
        assert isinstance(record.url, str)  # timm has the weights of a record without a repository at one URL
        path = _download(record.url, name)
    overlay = {"state_dict": read_state_dict(path)}
    # timm knows how to rename the keys of its files, and which of them have a class too many.
    return timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay).state_dict()


def _download_from_hub(repository: str, file: str | None, name: str) -> Path:
    """Return a file of a repository of Hugging Face in its local cache, a link to what is named after its SHA-256."""
    *others, last = [file] if file else _HUB_FILES
    if not any(isinstance(huggingface_hub.try_to_load_from_cache(repository, each), str) for each in (*others, last)):
        print(f"Fetching the weights of {name} from {repository}", file=sys.stderr, flush=True)
    try:
        for other in others:
            with suppress(EntryNotFoundError):
                return Path(huggingface_hub.hf_hub_download(repository, other))
        return Path(huggingface_hub.hf_hub_download(repository, last))
    except Exception as error:  # whatever the hub's client raises without a network
        raise _no_download(repository, name, error) from error


def _download(url: str, name: str) -> Path:
    """Return the file of a URL in torch.hub's cache, which keeps no download of another SHA-256 than its name's."""
    path = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlparse(url).path).name)
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f"Fetching the weights of {name} from {url}", file=sys.stderr, flush=True)
            with _limited_waits():
                torch.hub.download_url_to_file(url, str(path), named_sha256(path))
    except Exception as error:  # whatever a server or a disk does
        raise _no_download(url, name, error) from error
    return path


@contextmanager
def _limited_waits() -> Iterator[None]:
    """Let no connection that is opened in the block wait for ever for a server that says nothing."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_LONGEST_WAIT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _no_download(source: str, name: str, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0][:200]
    return UserError(
        f"Could not download the weights of {name} from {source} ({reason}). "
        "Check the network, give the path of a downloaded file, or train from scratch with pretrained 'none'."
    )


def _classifier_keys(name: str) -> set[str]:
    """Return the keys of the tensors whose shape depends on the number of classes."""
    with torch.device("meta"):
        two, three = (build_network(name, num_classes).state_dict() for num_classes in (2, 3))
    return {key for key in two if two[key].shape != three[key].shape}


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
        wanted = expected[our_key]
        if our_key in classifier:
            tensor = tensor.flatten(1) if tensor.dim() == 4 else tensor  # (classes, C, 1, 1) -> (classes, C)
        else:
            if tensor.dim() == 2 and wanted.dim() == 4 and tensor.numel() == wanted.numel():
                tensor = tensor.reshape(wanted.shape)  # fully connected there, here a convolution of the whole map
            if tensor.shape != wanted.shape or our_key.rpartition(".")[2] != their_key.rpartition(".")[2]:
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
