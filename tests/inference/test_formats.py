"""Each format of exported files: its runtime finds what PyTorch finds, and a changed weight of its file is seen."""

import copy
import importlib.util
import json
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import SMALL, build_detector, call_tool, result, small_config
from onnx import numpy_helper

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.cli import Options
from benchmark.config.names import CONFIGS
from benchmark.inference.export import environment, litert
from benchmark.inference.export.checked import compare, conversion_of, convert, export, place, scratch
from benchmark.inference.export.differences import Differences
from benchmark.inference.export.formats import FORMATS
from benchmark.inference.export.runtime import facts_path
from benchmark.inference.export.source import figures_of, prepare, read_config

pytestmark = pytest.mark.slow

FINETUNE = "finetune_food101_rexnet_x1.0"
CONFIG_OF = {"SSDLite": "ssdlite", "classifier": FINETUNE}
RUN = [name for name, row in FORMATS.items() if not row.unchecked and "SSDLite" in row.kinds]


def installed(name):
    """The format's row; the test is skipped where it cannot be made or run."""
    row = FORMATS[name]
    if missing := row.missing():
        pytest.skip(f"{row.title}: {', '.join(missing)} not installed")
    if name == "litert":
        try:
            environment.make_environment(litert.LOCK)
        except UserError as error:
            pytest.skip(str(error).splitlines()[0])
    return row


def options(kind):
    return Options(CONFIGS / f"{CONFIG_OF[kind]}.py", cfg_options=SMALL, demo=kind == "SSDLite")


@pytest.fixture(scope="module")
def checkpoints(randomise, tmp_path_factory):
    """A checkpoint of each kind, whose scores differ from one another and do not saturate."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for kind, config in CONFIG_OF.items():
        model = randomise(build_detector(small_config(config, demo=kind == "SSDLite")))
        if kind == "SSDLite":
            torch.manual_seed(1)
            for convs, std in ((model.bbox_head.cls_convs, 1.0), (model.bbox_head.reg_convs, 0.1)):
                for conv in convs:
                    torch.nn.init.normal_(conv[-1].weight, std=std)
        torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / f"{kind}.pth")
    return folder


@pytest.fixture(scope="module")
def sources(checkpoints, pictures):
    return {kind: prepare(read_config(options(kind)), checkpoints / f"{kind}.pth", pictures) for kind in CONFIG_OF}


def spoil(path):
    """Change every number of a file that is a weight by its size; whole numbers look like far smaller ones."""
    content = np.fromfile(path, dtype=np.uint8)
    numbers = content[: len(content) // 4 * 4].view(np.float32)
    size = np.abs(numbers)
    numbers[(size > 1e-3) & (size < 1)] *= np.float32(1.2)
    content.tofile(path)


def spoil_onnx(path):
    """Do as ``spoil`` does in a file whose weights lie at any place."""
    model = onnx.load(path)
    for one in model.graph.initializer:
        if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 4:
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one) * np.float32(1.2), one.name))
    onnx.save(model, path)


@pytest.fixture(scope="module")
def made(sources, tmp_path_factory):
    """Function that gives a converted model in a folder of its own; the conversion itself is done once."""
    folder, kept = tmp_path_factory.mktemp("made"), {}

    def copy(row, kind, place):
        if (row, kind) not in kept:
            own = folder / f"{row.module}_{kind}"
            own.mkdir()
            kept[row, kind] = convert(row, conversion_of(sources[kind], row, own), own / f"model{row.ending}")
        place.mkdir()
        for path in row.files(kept[row, kind]):
            shutil.copyfile(path, place / path.name)
        return place / kept[row, kind].name

    return copy


@pytest.mark.parametrize("kind", CONFIG_OF)
@pytest.mark.parametrize("name", RUN)
def test_it_finds_what_pytorch_finds(name, kind, made, sources, tmp_path):
    row, source = installed(name), sources[kind]
    out = tmp_path / "out" / f"model{row.ending}"
    found = place(source, row, made(row, kind, tmp_path / "made"), out)
    assert found.pictures == 2 and found.differences.within(found.allowed) and not found.unchecked
    assert sorted(out.parent.iterdir()) == sorted(row.files(out))
    assert found.size == sum(path.stat().st_size for path in row.files(out))
    module = row.load_module()
    facts = module.facts(out)
    assert facts["kind"] == kind and facts["input_height"] == source.original.size[0]
    assert facts["outputs"] == list(source.original.outputs)
    for threads in (1, 2):
        assert compare(source.original, source.checks, module.load(out, threads)).within(source.original.tolerance)


@pytest.mark.parametrize("kind", CONFIG_OF)
@pytest.mark.parametrize("name", RUN)
def test_a_changed_weight_of_the_file_is_seen_and_leaves_no_file(name, kind, made, sources, tmp_path):
    row = installed(name)
    changed = made(row, kind, tmp_path / "made")
    change = spoil_onnx if name == "onnx" else spoil
    change(max(row.files(changed), key=lambda path: path.stat().st_size))
    with pytest.raises(UserError, match=r"differ on 2 pictures .*was not written"):
        place(sources[kind], row, changed, tmp_path / "out" / changed.name)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("onnx", "SSDLite"), ("openvino", "SSDLite"), ("litert", "classifier"), ("executorch", "classifier")],
)
def test_each_place_of_a_batch_finds_what_pytorch_finds(name, kind, checkpoints, pictures, tmp_path):
    row, batch = installed(name), 3  # of two pictures
    out = tmp_path / f"model{row.ending}"
    found = export(options(kind), checkpoints / f"{kind}.pth", out, pictures=pictures, batch=batch)
    assert found.pictures == 2
    facts, run = row.load_module().facts(out), row.load_module().load(out, 1)
    height, width = facts["input_height"], facts["input_width"]
    assert facts["inputs"] == {"image": [batch, 3, height, width]}
    images = np.random.default_rng(0).uniform(0, 255, (batch, 3, height, width)).astype(np.float32)
    together = run({"image": images})
    assert all(len(value) == batch for value in together.values())
    turned = run({"image": images[::-1].copy()})
    for key, value in together.items():
        np.testing.assert_allclose(value[::-1], turned[key], atol=1e-3)
        assert np.abs(value[0] - value[1]).max() > 1e-3


def test_a_place_of_the_batch_that_finds_something_else_is_seen(sources):
    original = copy.copy(sources["classifier"].original)
    original.batch = 2

    def run(inputs):
        found = original.run({"image": torch.from_numpy(inputs["image"])})["logits"].numpy()
        return {"logits": np.stack([found[0], found[1] + 1])}

    checks = sources["classifier"].checks
    assert compare(original, checks, lambda inputs: {"logits": run(inputs)["logits"] - [[0], [1]]}).logits < 1e-3
    assert compare(original, checks[:1], run).logits == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("config", "ending", "more", "message"),
    [
        ("ssdlite", ".ncnn.param", {}, "--batch is no option of .ncnn.param files"),
        ("ssdlite", ".onnx", {"nms": True}, "--nms is of one picture at a time"),
        ("faster_rcnn", ".onnx", {}, "--batch is for SSDLite and classifiers"),
    ],
)
def test_a_batch_that_cannot_be_is_named(config, ending, more, message, tmp_path):
    chosen = Options(CONFIGS / f"{config}.py", cfg_options=SMALL, demo=True)
    with pytest.raises(UserError, match=message):
        export(chosen, tmp_path / "absent.pth", tmp_path / f"x{ending}", batch=2, **more)


def run_of(checkpoint, folder, **changes):
    """A run's folder with a result that says what the checkpoint reached."""
    folder.mkdir(parents=True)
    shutil.copyfile(checkpoint, folder / "iter_3.pth")
    training = {"iterations": 3, "batch_size": 8, "learning_rate": 0.1, "precision": "fp32", "pretrained": None}
    content = {
        "training": {**training, "seed": 0, "world_size": 1},
        "intervals": {"box_AP": (24.0, 26.5)},
        **changes,
    }
    result(**content).write(folder)
    return folder / "iter_3.pth"


def test_a_file_says_what_its_weights_reached_and_not_what_others_did(checkpoints, pictures, tmp_path):
    cfg, checkpoint = read_config(options("SSDLite")), run_of(checkpoints / "SSDLite.pth", tmp_path / "run")
    figures = prepare(cfg, checkpoint, pictures).facts["figures"]
    assert (figures["box_AP"], figures["images"], figures["data"]) == (25.31, 5000, "coco2017")
    assert list(figures["intervals"]["box_AP"]) == [24.0, 26.5] and "box_AP75" not in figures
    checkpoint.rename(tmp_path / "run/iter_2.pth")
    assert figures_of(tmp_path / "run/iter_2.pth", "ssdlite") == {}
    record = {"file": "iter_2.pth", "sha256": file_sha256(tmp_path / "run/iter_2.pth"), "iteration": 2}
    (tmp_path / "run/eval_iter_2").mkdir()
    result(checkpoint=record, metrics={"box_AP": 20.0}).write(tmp_path / "run/eval_iter_2")
    assert figures_of(tmp_path / "run/iter_2.pth", "ssdlite")["box_AP"] == 20.0
    result(checkpoint={**record, "sha256": "0" * 64}).write(tmp_path / "run/eval_iter_2")
    assert figures_of(tmp_path / "run/iter_2.pth", "ssdlite") == {}
    (tmp_path / "run/result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json is not readable JSON"):
        figures_of(tmp_path / "run/iter_2.pth", "ssdlite")


def test_a_whole_export_by_the_tool(checkpoints, pictures, tmp_path):
    row = installed("ncnn")
    out = tmp_path / f"model{row.ending}"
    arguments = [options("classifier").config, checkpoints / "classifier.pth", "--out", out, "--pictures", pictures]
    run = call_tool("export.py", *arguments, "--cfg-options", *SMALL)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    assert "ncnn, " in run.stdout and "on 2 pictures" in run.stdout
    assert sorted(tmp_path.iterdir()) == sorted(row.files(out))


@pytest.mark.parametrize("name", RUN)
def test_a_file_that_is_none_of_the_format_is_named(name, tmp_path):
    row = FORMATS[name]
    if missing := row.missing(to_run=True):
        pytest.skip(f"{row.title}: {', '.join(missing)} not installed")
    path = tmp_path / f"model{row.ending}"
    for part in row.files(path):
        part.write_text('{"inputs": {"image": [1, 3, 32, 32]}, "outputs": ["boxes"]}')
    with pytest.raises(UserError, match=rf"cannot run .*model{row.ending}"):
        row.load_module().load(path, 1)


def test_core_ml_packages_are_written_and_marked_unchecked(checkpoints, sources, pictures, tmp_path):
    row = installed("coreml")
    out = tmp_path / "model.mlpackage"
    found = export(options("classifier"), checkpoints / "classifier.pth", out, pictures=pictures)
    assert found.unchecked and found.pictures == 0 and found.differences == Differences()
    assert [path.name for path in tmp_path.iterdir()] == ["model.mlpackage"]
    assert found.size == sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) > 1e6
    facts = row.load_module().facts(out)
    assert facts["kind"] == "classifier" and facts["inputs"] == {"image": [1, 3, 224, 224]}
    assert json.loads((out / "Manifest.json").read_text())["fileFormatVersion"]
    with pytest.raises(UserError, match="is there already"):
        export(options("classifier"), checkpoints / "classifier.pth", out, pictures=pictures)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_is_not_installed_is_named_with_its_extra(name, checkpoints, tmp_path, monkeypatch):
    row, find = FORMATS[name], importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda spec: None if spec == row.packages[-1] else find(spec))
    with pytest.raises(UserError, match=rf"need {row.packages[-1]}.*rexnet-benchmark\[{row.extra}\]"):
        export(options("classifier"), tmp_path / "absent.pth", tmp_path / f"x{row.ending}")


@pytest.mark.parametrize("name", RUN)
def test_a_format_asks_for_the_packages_of_its_own_extra_alone(name, checkpoints, pictures, tmp_path, monkeypatch):
    row, find = installed(name), importlib.util.find_spec
    others = {package for other in FORMATS.values() for package in other.packages} - set(row.packages)
    monkeypatch.setattr(importlib.util, "find_spec", lambda spec: None if spec in others else find(spec))
    export(options("classifier"), checkpoints / "classifier.pth", tmp_path / f"x{row.ending}", pictures=pictures)
    assert (tmp_path / f"x{row.ending}").is_file()


def test_a_kind_that_a_format_does_not_hold_is_named_before_a_model_is_built(tmp_path):
    chosen = Options(CONFIGS / "faster_rcnn.py", cfg_options=SMALL, demo=True)
    with pytest.raises(UserError, match="ncnn files hold SSDLite, classifier, no Faster R-CNN"):
        export(chosen, tmp_path / "absent.pth", tmp_path / "x.ncnn.param")


def test_what_pnnx_cannot_convert_is_one_line(sources, monkeypatch):
    import pnnx

    row = installed("ncnn")
    monkeypatch.setattr(pnnx, "EXEC_PATH", shutil.which("false"))
    with scratch() as folder, pytest.raises(UserError, match="pnnx cannot convert this model: status 1"):
        convert(row, conversion_of(sources["classifier"], row, folder), folder / "x.ncnn.param")


@pytest.fixture
def fake_uv(tmp_path, monkeypatch):
    """A uv that notes its arguments and makes an environment of one file; returns the file with the notes."""
    import uv

    notes, program = tmp_path / "notes", tmp_path / "uv"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        f"pathlib.Path({str(notes)!r}).open('a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "sys.argv[1] == 'venv' and pathlib.Path(sys.argv[-1]).mkdir(exist_ok=True)\n"
        f"fails = sys.argv[1] == 'pip' and pathlib.Path({str(tmp_path / 'fail')!r}).exists()\n"
        "sys.exit('no such package' if fails else 0)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(uv, "find_uv_bin", lambda: str(program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return notes


def test_an_environment_is_made_once_pinned_by_hash_and_again_after_a_failure(fake_uv, tmp_path, capfd):
    lock = tmp_path / "tool.lock"
    lock.write_text("package==1 --hash=sha256:00\n")
    (tmp_path / "fail").touch()
    with pytest.raises(UserError, match=r"cannot be made: no such package\n.*UV_PYTHON"):
        environment.make_environment(lock)
    (tmp_path / "fail").unlink()
    python = environment.make_environment(lock)
    assert python.is_relative_to(tmp_path / "cache") and environment.make_environment(lock) == python
    made = fake_uv.read_text().splitlines()
    assert len(made) == 4 and all("--require-hashes" in line for line in made if line.startswith("pip"))
    lock.write_text("package==2 --hash=sha256:00\n")
    assert environment.make_environment(lock) != python
    assert "--hash=sha256" in Path(litert.LOCK).read_text() and "onnx2tf==" in Path(litert.LOCK).read_text()


def test_facts_that_are_not_beside_a_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"x\.tflite needs x\.tflite\.json beside it"):
        litert.facts(tmp_path / "x.tflite")
    assert facts_path(tmp_path / "x.tflite").name == "x.tflite.json"
