import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from backbones.errors import UserError
from backbones.tensors import (
    check_file,
    describe_misfit,
    file_sha256,
    first_not_finite,
    named_sha256,
    read_state_dict,
    read_tensors,
)

STATE = {"a.weight": torch.arange(64.0), "b.bias": torch.tensor([1, 2, 3])}


def save_legacy(state: dict, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


SAVERS: dict[str, Callable[[dict, Path], None]] = {
    "weights.pth": torch.save,
    "legacy.pth": save_legacy,
    "weights.safetensors": save_file,
}


def is_whole(state: dict) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def assert_refused(path: Path, *words: str, read: Callable = read_state_dict) -> None:
    with pytest.raises(UserError) as raised:
        read(path)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for word in (path.name, *words):
        assert word in message


# --- sound files ---


@pytest.mark.parametrize("name", SAVERS)
def test_every_format_is_read(name, tmp_path):
    SAVERS[name](STATE, tmp_path / name)
    assert is_whole(read_state_dict(tmp_path / name))
    assert is_whole(read_tensors(tmp_path / name))


def test_plain_containers_are_read_whole(tmp_path):
    content = {"state_dict": STATE, "meta": {"iter": 3, "names": ("a", None, 0.5)}, "logs": [[1, True]]}
    torch.save(content, tmp_path / "iter_3.pth")
    found = read_tensors(tmp_path / "iter_3.pth")
    assert is_whole(found["state_dict"])
    assert (found["meta"], found["logs"]) == (content["meta"], content["logs"])


# --- damage ---


@pytest.mark.parametrize("read", [read_state_dict, read_tensors])
def test_a_flipped_bit_in_a_value_is_noticed(read, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(STATE, path)
    at = path.read_bytes().index(STATE["a.weight"].numpy().tobytes()) + 100
    path.write_bytes(flipped(path.read_bytes(), 8 * at))
    assert torch.load(path, weights_only=True)["a.weight"].shape == (64,)  # which PyTorch reads over
    assert_refused(path, "checksum of its part", "the file is damaged", read=read)


def test_no_flipped_bit_of_an_archive_changes_a_value(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(STATE, path)
    content, refused = path.read_bytes(), 0
    for bit in range(0, 8 * len(content), 37):
        path.write_bytes(flipped(content, bit))
        try:
            assert is_whole(read_state_dict(path)), f"bit {bit}"  # padding, or a date
        except UserError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("keep", [0.001, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", SAVERS)
def test_a_file_that_was_cut_off_is_refused(name, keep, tmp_path):
    path = tmp_path / name
    SAVERS[name](STATE, path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert_refused(path, "is not a file of weights")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello world\n", b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 512],
    ids=["empty", "text", "html", "lfs pointer", "zeros"],
)
def test_a_file_of_another_kind_is_named(content, suffix, tmp_path):
    (tmp_path / f"weights{suffix}").write_bytes(content)
    assert_refused(tmp_path / f"weights{suffix}", "is not a file of weights")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-4], ("its header tells of", "damaged")),
        (lambda content: content + b"more", ("its header tells of", "damaged")),
        (lambda content: content[:30], ("cut off within it",)),
        (lambda content: b"\xff" * 8 + content[8:], ("its header is damaged",)),
        (lambda content: content[:8] + b"X" + content[9:], ("JSONDecodeError",)),
        (lambda content: content.replace(b"F32", b"F99"), ("SafetensorError",)),
        (lambda content: content.replace(b"data_offsets", b"data_offsetz"), ("KeyError",)),
    ],
)
def test_a_damaged_safetensors_file_is_named(change, words, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(STATE, path)
    path.write_bytes(change(path.read_bytes()))
    assert_refused(path, *words)


# --- the SHA-256 in a name ---


def named_after_hash(folder: Path, save: Callable[[dict, Path], None], suffix: str, digits: int = 8) -> Path:
    save(STATE, folder / "unnamed")
    return (folder / "unnamed").rename(folder / f"net-{file_sha256(folder / 'unnamed')[:digits]}{suffix}")


@pytest.mark.parametrize("digits", [8, 10, 64])
@pytest.mark.parametrize(("save", "suffix"), [(save_legacy, ".pth"), (torch.save, ".pt"), (save_file, ".safetensors")])
def test_a_file_is_compared_with_the_hash_in_its_name(save, suffix, digits, tmp_path):
    path = named_after_hash(tmp_path, save, suffix, digits)
    assert is_whole(read_state_dict(path))
    content = path.read_bytes()
    at = content.index(STATE["a.weight"].numpy().tobytes()) + 100
    path.write_bytes(flipped(content, 8 * at))
    assert_refused(path, "is named after a SHA-256", "Remove", "and fetch it again")
    assert_refused(path, "is named after a SHA-256", read=check_file)
    path.rename(tmp_path / f"unnamed{suffix}")
    if save is not torch.save:  # what only the name could tell
        assert not is_whole(read_state_dict(tmp_path / f"unnamed{suffix}"))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("rexnet-0123abcd.pth", "0123abcd"),
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
        ("faster_rcnn_20200130-047c8118.pth", "047c8118"),
        ("efficientnet-lite0-57934424.pth", "57934424"),  # digits, but no date
        ("net-" + "0123456789abcdef" * 4 + ".safetensors", "0123456789abcdef" * 4),
        ("net-20240131.pth", None),
        ("net-31012024.pth", None),
        ("net-abcd.pth", None),
        ("net-x123abcd.pth", None),
        ("0123abcd.pth", None),
        ("net-0123abcd.pth.part", None),
        ("iter_12345678.pth", None),
    ],
)
def test_which_names_hold_a_hash(name, found):
    assert named_sha256(Path(name)) == found


def test_a_link_into_a_hubs_cache_is_compared_with_the_hash_it_leads_to(tmp_path):
    save_file(STATE, tmp_path / "file")
    blob = (tmp_path / "file").rename(tmp_path / file_sha256(tmp_path / "file"))
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert is_whole(read_state_dict(link))
    blob.write_bytes(flipped(blob.read_bytes(), 8 * blob.stat().st_size - 9))
    assert_refused(link, f"Remove {blob}")


# --- more than tensors ---


class Calls:
    """Its unpickling calls a function."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def save_pickle(content: dict, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [torch.save, save_legacy, save_pickle])
@pytest.mark.parametrize("read", [read_state_dict, read_tensors])
def test_code_is_refused_and_named(save, read, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "weights.pth"
    save({"evil": Calls(os.mkdir, str(marker)), **STATE}, path)
    assert_refused(path, "posix.mkdir", "could run code, so it was not read", read=read)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Calls(os.mkdir, str(marker))))
    assert marker.exists()  # that is, it would have run


def test_what_training_loops_save_beside_the_weights_is_not_made(tmp_path, monkeypatch):
    """MMEngine's list of what is safe holds getattr, so that a file could run any property."""
    ran = []
    monkeypatch.setattr(
        HistoryBuffer, "property", type("P", (), {"__get__": lambda *args: ran.append(args)})(), raising=False
    )
    path, reach = tmp_path / "iter_1.pth", Calls(getattr, HistoryBuffer, "property")
    torch.save({"state_dict": STATE, "logs": {"loss": HistoryBuffer([1.0], [1]), "reach": reach}}, path)
    assert is_whole(read_state_dict(path))
    assert not ran
    pickle.loads(pickle.dumps(reach))
    assert ran  # that is, it would have


def test_a_file_that_holds_no_state_dict_is_named(tmp_path):
    torch.save([1, 2], tmp_path / "weights.pth")
    assert_refused(tmp_path / "weights.pth", "holds a list, expected a state dict")
    torch.save({"state_dict": {}}, tmp_path / "weights.pth")
    assert_refused(tmp_path / "weights.pth", "holds no tensors")
    assert_refused(tmp_path / "absent.pth", "Weights not found")


def test_a_zip_archive_of_something_else_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert_refused(tmp_path / "weights.pth", "is not a file of weights")


# --- misfits and values ---


def test_misfits_are_counted_and_the_first_named():
    expected = {name: torch.zeros(2) for name in "abcdef"}
    assert describe_misfit(expected, expected.keys(), expected) == ""
    assert describe_misfit({"a": torch.zeros(2)}, {"a"}, expected) == ""
    found = {"a": torch.zeros(3), "x": torch.zeros(1)}
    assert describe_misfit(found, expected.keys(), expected) == (
        "5 missing (first: b, c, d); 1 unexpected (first: x); 1 of another shape (first: a (3,) for (2,))"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_first_tensor_that_is_not_finite_is_named(value, dtype):
    state = {
        "steps": torch.tensor(3),
        "mask": torch.tensor([True]),
        "a": torch.ones(2, dtype=dtype),
        "empty": torch.ones(0),
    }
    assert first_not_finite(state) is None
    bad = torch.tensor([1.0, value], dtype=dtype)
    assert first_not_finite({**state, "b": bad, "c": bad}) == "b"


def test_importing_the_reader_imports_no_torch():
    code = "import backbones.errors, backbones.tensors, sys; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
