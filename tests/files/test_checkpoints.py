import numpy as np
import pytest
import torch
from torch import nn

from backbones.errors import UserError
from benchmark.files.checkpoints import fill, load_checkpoint, newest_intact
from benchmark.files.run_folder import checkpoint_path

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def test_a_checkpoint_is_read_whole_but_for_its_config(tmp_path):
    content = {"state_dict": STATE, "meta": {"iter": 3, "config": "import os"}, "optimizer": {"lr": [0.1]}}
    torch.save(content, tmp_path / "iter_3.pth")
    found = load_checkpoint(tmp_path / "iter_3.pth")
    assert torch.equal(found["state_dict"]["weight"], STATE["weight"])
    assert found["meta"] == {"iter": 3}  # MMEngine would run the config
    assert found["optimizer"] == {"lr": [0.1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "has no 'state_dict' of tensors"),
        (STATE, "has no 'state_dict' of tensors"),
        ({"state_dict": [1]}, "has no 'state_dict' of tensors"),
        ({"state_dict": {"weight": 3}}, "has no 'state_dict' of tensors"),
        ({"state_dict": STATE, "meta": [1]}, "its 'meta' is a list"),
        ({"state_dict": STATE, "logs": np.ones(2)}, "could run code"),
    ],
)
def test_what_is_no_checkpoint_of_a_run_is_named(content, message, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=rf"x\.pth is not a checkpoint.*{message}") as raised:
        load_checkpoint(tmp_path / "x.pth")
    assert len(str(raised.value).splitlines()) == 1


def test_an_absent_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=r"Checkpoint not found: .*absent"):
        load_checkpoint(tmp_path / "absent.pth")


def test_the_newest_intact_one_is_taken_and_the_damage_of_the_newer_told(tmp_path):
    for iteration in (2, 10, 9):
        torch.save({"state_dict": STATE}, checkpoint_path(tmp_path, iteration))
    newest = checkpoint_path(tmp_path, 10)
    content = newest.read_bytes()
    at = content.index(STATE["weight"].numpy().tobytes()) + 5
    newest.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    path, (problem,) = newest_intact(tmp_path)
    assert path == checkpoint_path(tmp_path, 9)
    assert "iter_10.pth is not a checkpoint" in problem and "damaged" in problem


def test_a_model_is_filled_whole_or_not_at_all():
    model = nn.Linear(3, 2)
    fill(model, STATE, "iter_3.pth")
    assert torch.equal(model.weight, STATE["weight"])
    other = {"weight": torch.ones(2, 3), "biass": torch.ones(2)}
    with pytest.raises(UserError, match=r"iter_3\.pth is a checkpoint of another model.*missing.*bias.*unexpected"):
        fill(model, other, "iter_3.pth")
    assert torch.equal(model.weight, STATE["weight"])
