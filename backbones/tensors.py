"""The one reader of tensors: checkpoints of runs, pretrained weights, files that hubs download.

Tensors and plain containers are unpickled and nothing else, so no code can run. All that a file tells of its own
soundness is verified: the CRC-32 of every part of PyTorch's zip archive, which PyTorch itself reads over; the length
that the header of a .safetensors file tells; the SHA-256 that a file is named after. PyTorch's format from before 1.6
and the values in a .safetensors file carry no checksum: there, only a SHA-256 in the name shows a damaged value.
"""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from backbones.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS = ".safetensors"
_ZIP = b"PK\x03\x04"  # how PyTorch tells its archive from its older format
_FORBIDDEN = re.compile(r"GLOBAL (\S+)")  # how PyTorch names what it refuses
_NAMED_SHA256 = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt|bin|safetensors)$")  # as torch.hub, timm and MMDetection do
_HUB_BLOB = re.compile(r"[0-9a-f]{64}")  # what a name in Hugging Face's cache leads to
_DATES = ("%Y%m%d", "%d%m%Y", "%m%d%Y")
_CONTAINERS = ("state_dict_ema", "state_dict", "model")
# What training loops save beside the weights: MMEngine its logs, others their arguments.
_BESIDE_WEIGHTS = (
    "argparse.Namespace",
    "builtins.getattr",
    "builtins.slice",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)
_SHOWN = 3


class _Beside:
    """Stands for an object beside the weights, of which nothing is made."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(state: Mapping[str, "Tensor"]) -> str:
    """Return the hexadecimal SHA-256 of tensors by name: their shapes, types and values, however they were stored."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_file(path: Path) -> None:
    """Check that a file of weights is there, and that it has the SHA-256 that it is named after, if it is.

    Raises:
        UserError: it is not there, or has another.
    """
    if not os.path.isfile(path):  # a path that is too long is no error here
        raise UserError(f"Weights not found: {path}. Give an existing .pth or .safetensors file, or 'imagenet'.")
    named = named_sha256(path)
    if named and not (digest := file_sha256(path)).startswith(named):
        raise UserError(
            f"{path} is named after a SHA-256 that begins with {named}, but it has {digest}: it is damaged. "
            f"Remove {path.resolve()} and fetch it again."
        )


def named_sha256(path: Path) -> str | None:
    """Return the SHA-256, or its beginning, that a file is named after, or None.

    torch.hub, timm and MMDetection name files as ``name-0123abcd.pth``; Hugging Face's cache keeps files by their hash
    and links names to them. Eight digits that read as a date are no hash.
    """
    if _HUB_BLOB.fullmatch(target := path.resolve().name):
        return target
    found = _NAMED_SHA256.search(path.name)
    return found[1] if found and not _is_date(found[1]) else None


def _is_date(digits: str) -> bool:
    for order in _DATES:
        with suppress(ValueError):
            if len(digits) == 8 and 2000 <= datetime.strptime(digits, order).year < 2100:
                return True
    return False


def read_tensors(path: Path, *, kind: str = "file of tensors", map_location: Any = "cpu") -> Any:
    """Read a .pth or .safetensors file whole: tensors in plain containers.

    Args:
        path: of the file.
        kind: what it should be, for messages.
        map_location: where the tensors of a .pth go, as in ``torch.load``.

    Raises:
        UserError: there is no such file, it is damaged, or it holds anything else.
    """
    return _read(path, kind, map_location, allowed=())


def read_state_dict(path: Path) -> dict[str, "Tensor"]:
    """Read the tensors of a .pth or .safetensors file of weights; a run's or a training loop's checkpoint is one too.

    Raises:
        UserError: there is no such file, it is damaged, holds anything else, or holds no tensors.
    """
    from torch import Tensor

    state = _read(path, "file of weights", "cpu", allowed=[(_Beside, name) for name in _BESIDE_WEIGHTS])
    for container in _CONTAINERS:
        if isinstance(state, Mapping) and isinstance(state.get(container), Mapping):
            state = state[container]
            break
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds a {type(state).__name__}, expected a state dict of tensors.")
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no tensors, expected a state dict.")
    check_plain(tensors, path)
    return tensors


def _read(path: Path, kind: str, map_location: Any, allowed: Iterable[tuple[type, str]]) -> Any:
    import torch

    check_file(path)
    try:
        if path.suffix == SAFETENSORS:
            return _read_safetensors(path)
        _check_archive(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        what = _FORBIDDEN.search(str(error))
        raise UserError(
            f"{path} is not a {kind} alone{f' (it holds {what[1]})' if what else ''}; unpickling anything else could "
            "run code, so it was not read. Save its state dict alone, or as .safetensors."
        ) from error
    except Exception as error:  # torch, zipfile and safetensors each have their own
        reason = str(error).strip().partition("\n")[0][:200] or "it is empty"
        raise UserError(f"{path} is not a {kind} ({type(error).__name__}: {reason}).") from error


def _check_archive(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"the checksum of its part {damaged} does not fit: the file is damaged")


def _read_safetensors(path: Path) -> dict[str, "Tensor"]:
    from safetensors.torch import load_file

    size = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        if header_length > size - 8:
            raise ValueError("its header is damaged, or the file was cut off within it")
        header = json.loads(file.read(header_length))
    header.pop("__metadata__", None)
    expected = 8 + header_length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if size != expected:
        raise ValueError(f"it is {size} bytes long, but its header tells of {expected}: it is damaged")
    return load_file(path)


def check_plain(state: Mapping[Any, Any], path: Path) -> None:
    """Check that what a file holds as weights is: names, each with a dense tensor of numbers.

    Raises:
        UserError: a key that is no text, or a tensor that is sparse, quantised or without values.
    """
    from torch import strided

    for name, value in state.items():
        if not isinstance(name, str):
            raise UserError(f"{path} has weights named {name!r}, expected texts such as 'backbone.conv1.weight'.")
        if value.layout != strided or value.is_quantized or value.is_meta:
            raise UserError(
                f"{path} has a weight that is sparse, quantised or without values ({name}), expected dense tensors."
            )


def describe_misfit(state: Mapping[str, "Tensor"], required: Collection[str], expected: Mapping[str, "Tensor"]) -> str:
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
            f"{key} {tuple(state[key].shape)} for {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in state and state[key].shape != tensor.shape
        ],
        # Copying would drop an imaginary part or a fraction without a word.
        "of another kind of number": [
            f"{key} {state[key].dtype} for {tensor.dtype}"
            for key, tensor in expected.items()
            if key in state and _kind(state[key]) != _kind(tensor)
        ],
    }
    return "; ".join(
        f"{len(keys)} {kind} (first: {', '.join(keys[:_SHOWN])})" for kind, keys in problems.items() if keys
    )


def _kind(tensor: "Tensor") -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def first_not_finite(state: Mapping[str, "Tensor"]) -> str | None:
    """Return the name of the first tensor that holds a NaN or an infinity, or None."""
    return next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
