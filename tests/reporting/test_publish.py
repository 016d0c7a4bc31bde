"""Publishing a run: what others get, that it loads everywhere, and what is refused; by the command line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers import build_detector, call_tool, result, run_tool, small_config
from hub_server import hub_server
from safetensors.torch import load_file

from backbones.tensors import file_sha256
from benchmark.data.demo.pictures import make_demo_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory, randomise) -> Path:
    """Folder of a training that has ended, as far as publishing looks at it, and its data."""
    folder = tmp_path_factory.mktemp("publish") / "run"
    folder.mkdir()
    data = make_demo_data(folder.parent / "data", train_images=8, val_images=4)
    cfg = small_config("ssdlite", data_root=data, demo=True)
    cfg.work_dir, cfg.experiment_name = str(folder), "x"
    cfg.dump(str(folder / "config.py"))
    detector = randomise(build_detector(cfg))
    for conv in detector.bbox_head.cls_convs:
        torch.nn.init.normal_(conv[-1].weight)
    meta = {"iter": 7, "dataset_meta": {"classes": ["a", "b"]}, "time": "now"}
    torch.save({"state_dict": detector.state_dict(), "meta": meta}, folder / "iter_7.pth")
    training = {
        "iterations": 7, "batch_size": 4, "learning_rate": 0.01, "precision": "fp32", "pretrained": "imagenet",
        "seed": 3, "world_size": 1,
    }  # fmt: skip
    result(
        backbone="mobilenet_v3_small",
        training=training,
        intervals={"box_AP": (24.5, 26.5)},
        per_class={"box": {"a|b\n<x>": 12.0, "c": None}},
    ).write(folder)
    return folder


def publish(*arguments: object):
    return call_tool("publish.py", *arguments)


def test_a_published_folder_holds_the_weights_and_says_where_they_are_from(run, tmp_path):
    done = publish(run, "--to", tmp_path / "out", "--licence", "apache-2.0")
    assert (done.returncode, done.stderr) == (0, "")
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "config.py", "result.json", "README.md"}
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in out.iterdir())
    published, own = load_file(out / "model.safetensors"), torch.load(run / "iter_7.pth")["state_dict"]
    assert published.keys() == own.keys() and all(torch.equal(published[key], own[key]) for key in own)
    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["pipeline_tag"]) == ("apache-2.0", "object-detection")
    [evaluated] = front["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in evaluated["metrics"]} == {"box_AP": 25.31, "box_AP50": 42.3}
    for words in (
        "24.5 to 26.5",
        "not computed",
        "seed 3",
        "mobilenet_v3_small: licence",
        file_sha256(out / "model.safetensors"),
    ):
        assert words in card
    assert "<x>" not in card.replace("\\<x\\>", "")
    assert str(run.parent) not in (out / "config.py").read_text() + card + (out / "result.json").read_text()


def test_every_tool_that_takes_a_checkpoint_finds_the_same_in_what_is_published(run, tmp_path):
    assert publish(run, "--to", tmp_path / "out").returncode == 0
    data, found = run.parent / "data", {}
    for name, config, checkpoint in (
        ("own", run / "config.py", run / "iter_7.pth"),
        ("file", run / "config.py", tmp_path / "out/model.safetensors"),
        ("folder", tmp_path / "out/config.py", tmp_path / "out"),
    ):
        done = call_tool(
            "eval_detection.py", config, checkpoint, "--data-root", data, "--work-dir", tmp_path / name,
            "--cfg-options", "val_dataloader.num_workers=0",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        evaluated = json.loads((tmp_path / name / "result.json").read_text())
        assert evaluated["checkpoint"]["iteration"] == 7
        done = call_tool(
            "predict.py", config, checkpoint, data / "val2017", "--data-root", data, "--out", tmp_path / f"p_{name}"
        )
        assert done.returncode == 0, done.stderr
        predictions = (tmp_path / f"p_{name}/predictions.json").read_text()
        found[name] = (evaluated["metrics"], predictions)
        assert len(predictions) > 1000
    assert found["own"] == found["file"] == found["folder"]


def test_what_the_hub_is_given_loads_from_there_and_later_without_it(run, tmp_path):
    data = run.parent / "data"
    arguments = (run / "config.py", "hf:org/name", data / "val2017", "--data-root", data, "--out", tmp_path / "out")
    with hub_server() as (endpoint, files):
        environment = {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_TOKEN": "hf_x",
            "HF_HUB_DISABLE_XET": "1",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            done = run_tool("publish.py", run, "--to", "hf:org/name")
            assert done.returncode == 0, done.stderr
            assert files.keys() >= {"model.safetensors", "config.py", "result.json", "README.md"}
            assert "hf download org/name config.py" in files["README.md"].decode()
            done = run_tool("predict.py", *map(str, arguments))
            assert done.returncode == 0, done.stderr
            first = (tmp_path / "out/predictions.json").read_text()
            assert len(first) > 1000
            patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
            done = run_tool("predict.py", *map(str, arguments))
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "out/predictions.json").read_text() == first
            patch.setenv("HF_HOME", str(tmp_path / "empty"))
            for tool, given in (("predict.py", arguments), ("publish.py", (run, "--to", "hf:org/name"))):
                done = run_tool(tool, *map(str, given))
                [error] = [line for line in done.stderr.splitlines() if not line.endswith("...")]
                assert done.returncode == 1 and error.startswith("error: hf:org/name could not be "), done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: (run / "iter_7.pth").unlink(), "iter_7.pth is gone"),
        (lambda run: (run / "config.py").unlink(), "no config.py"),
        (lambda run: (run / "result.json").unlink(), "no result.json"),
        (lambda run: torch.save({"state_dict": {"x": torch.zeros(1)}}, run / "iter_7.pth"), "another model"),
        (
            lambda run: torch.save({"state_dict": {"x": torch.full((1,), torch.nan)}}, run / "iter_7.pth"),
            "not finite",
        ),
    ],
)
def test_a_run_that_cannot_be_published_is_refused_and_nothing_is_written(run, tmp_path, change, words):
    own = Path(shutil.copytree(run, tmp_path / "run"))
    change(own)
    done = publish(own, "--to", tmp_path / "out")
    assert done.returncode == 1 and words in done.stderr
    assert not (tmp_path / "out").exists()
