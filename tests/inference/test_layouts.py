"""Folders for model servers: Triton's config is read back by protobuf, and what the folder holds runs as it says."""

import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from helpers import SMALL, build_detector, call_tool, small_config

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.complete import complete_model
from benchmark.config.load import load_options
from benchmark.config.names import CONFIGS
from benchmark.data.demo import class_folders
from benchmark.inference.export.checked import export
from benchmark.inference.export.formats import FORMATS

pytestmark = pytest.mark.slow

NUMBERS = {"TYPE_FP32": np.float32, "TYPE_INT64": np.int64, "TYPE_UINT8": np.uint8}
FIELD = descriptor_pb2.FieldDescriptorProto


def model_config():
    """The part of Triton's ModelConfig that is written, with the numbers that model_config.proto gives it."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    kinds = file.enum_type.add(name="DataType")
    for name, number in (
        ("TYPE_INVALID", 0),
        ("TYPE_UINT8", 2),
        ("TYPE_INT32", 8),
        ("TYPE_INT64", 9),
        ("TYPE_FP32", 11),
    ):
        kinds.value.add(name=name, number=number)
    tensor = {"name": (1, FIELD.TYPE_STRING), "data_type": (2, ".inference.DataType")}
    messages = {
        "ModelInput": {**tensor, "dims": (4, FIELD.TYPE_INT64, True)},
        "ModelOutput": {**tensor, "dims": (3, FIELD.TYPE_INT64, True), "label_filename": (4, FIELD.TYPE_STRING)},
        "ModelConfig": {
            "name": (1, FIELD.TYPE_STRING),
            "max_batch_size": (4, FIELD.TYPE_INT32),
            "input": (5, ".inference.ModelInput", True),
            "output": (6, ".inference.ModelOutput", True),
            "default_model_filename": (8, FIELD.TYPE_STRING),
            "backend": (17, FIELD.TYPE_STRING),
        },
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, *several) in fields.items():
            label = FIELD.LABEL_REPEATED if several else FIELD.LABEL_OPTIONAL
            own = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                own.type = FIELD.TYPE_ENUM if kind.endswith("DataType") else FIELD.TYPE_MESSAGE
                own.type_name = kind
            else:
                own.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))()


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A classifier of generated pictures in folders."""
    data = class_folders.make_demo_data(tmp_path_factory.mktemp("data") / "demo", train_images=8, val_images=4)
    return Options(
        CONFIGS / "finetune.py",
        cfg_options=SMALL[1:],
        backbone="mobilenet_v3_small",
        dataset="imagefolder",
        demo=True,
        data_root=data,
    )


@pytest.fixture(scope="module")
def checkpoint(options, randomise, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "x.pth"
    cfg = load_options(options)
    complete_model(cfg)
    torch.save({"state_dict": randomise(build_detector(cfg)).state_dict(), "meta": {}}, path)
    return path


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_tritons_config_says_what_the_file_takes_and_gives(name, options, checkpoint, tmp_path):
    row = FORMATS[name]
    if row.missing():
        pytest.skip(f"{row.title}: {', '.join(row.missing())} not installed")
    found = export(options, checkpoint, tmp_path / f"food{row.ending}", batch=2, layout="triton")
    folder = tmp_path / "food"
    assert list(tmp_path.iterdir()) == [folder] and found.pictures > 0
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config())
    assert (config.name, config.max_batch_size) == ("food", 0)
    assert config.backend == {"onnx": "onnxruntime", "openvino": "openvino"}[name]
    file = folder / "1" / config.default_model_filename
    assert sorted((folder / "1").iterdir()) == sorted(row.files(file))
    given = {one.name: np.zeros(one.dims, NUMBERS[kind_of(one)]) for one in config.input}
    answer = row.load_module().load(file, 1)(given)
    assert {one.name: (tuple(one.dims), NUMBERS[kind_of(one)]) for one in config.output} == {
        key: (value.shape, value.dtype.type) for key, value in answer.items()
    }
    [logits] = config.output
    labels = (folder / logits.label_filename).read_text().splitlines()
    assert len(labels) == logits.dims[1] > 1 and labels == row.load_module().facts(file)["classes"]


def kind_of(tensor):
    """Name of a tensor's type."""
    return tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type].name


def test_openvinos_server_finds_a_version_of_the_model_by_the_tool(options, checkpoint, tmp_path):
    out = tmp_path / "models" / "food.onnx"
    arguments = [options.config, checkpoint, "--out", out, "--layout", "ovms", "--demo", "--dataset", "imagefolder"]
    arguments += ["--data-root", options.data_root, "--backbone", options.backbone, "--cfg-options", SMALL[1]]
    run = call_tool("export.py", *arguments)
    assert run.returncode == 0 and "for OpenVINO's model server" in run.stdout, run.stderr
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [
        "models/food/1/model.onnx"
    ]
    again = call_tool("export.py", *arguments)
    assert again.returncode != 0 and "is there already" in again.stderr


def test_outputs_without_a_fixed_size_are_said_to_vary(randomise, demo_data, tmp_path):
    detector = randomise(build_detector(small_config(demo=True)))
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, tmp_path / "x.pth")
    options = Options(CONFIGS / "ssdlite.py", cfg_options=SMALL, demo=True)
    pictures = min((demo_data / "val2017").iterdir())
    export(options, tmp_path / "x.pth", tmp_path / "ssd.onnx", pictures=pictures, layout="triton", nms=True)
    config = text_format.Parse((tmp_path / "ssd/config.pbtxt").read_text(), model_config())
    assert [(one.name, list(one.dims)) for one in config.output] == [
        ("detection_boxes", [-1, 4]),
        ("detection_scores", [-1]),
        ("detection_labels", [-1]),
    ]
    assert not any(one.label_filename for one in config.output)


def test_a_format_that_a_server_does_not_take_is_named(options, tmp_path):
    with pytest.raises(UserError, match=r"--layout triton: Triton takes \.onnx, \.xml, found --out .*x\.ncnn\.param"):
        export(options, tmp_path / "absent.pth", tmp_path / "x.ncnn.param", layout="triton")
