"""INT8: what decodes stays in float, saturation is avoided where the processor saturates, costly layers are found."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import REPOSITORY
from onnx import TensorProto, helper, numpy_helper

from backbones.errors import UserError
from benchmark.inference.export import onnx as onnx_files
from benchmark.inference.quantise import arithmetic, onnx_int8, search
from benchmark.inference.quantise.arithmetic import Arithmetic, arithmetic_here
from benchmark.inference.quantise.graph import Node, split_graph
from benchmark.inference.quantise.search import Quantised, Task, check_quantisable, quantise, rank_groups, split_layers

VNNI, NONE = Arithmetic(True, "VNNI"), Arithmetic(False, "no VNNI")
FACTS = {"kind": "classifier", "classes": ["a", "b"]}
LAYERS = 10


@pytest.fixture(scope="module")
def pictures():
    generator = np.random.default_rng(0)
    return [{"image": generator.uniform(0, 255, (1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Convolutions with ReLU, the fourth of weights that 8 bits do not hold, and a product that decodes."""
    generator = np.random.default_rng(0)
    nodes, weights, channels, name = [], [], 3, "image"
    for number in range(LAYERS):
        kernel = generator.normal(0, 0.3, (8, channels, 3, 3)).astype(np.float32)
        if number == 3:
            kernel[:, :, 1, 1] *= 200
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        nodes.append(helper.make_node("Conv", [name, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"], f"relu{number}"))
        channels, name = 8, f"r{number}"
    weights.append(numpy_helper.from_array(np.float32(3.7), "scale"))
    nodes.append(helper.make_node("Mul", [name, "scale"], ["logits"], "decode"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 8, 8, 8))],
        weights,
    )
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def task(network, pictures):
    return Task("onnx", network, FACTS, pictures, VNNI)


def test_what_only_decodes_and_picks_is_no_part_of_the_network():
    nodes = {
        "normalise": Node("Sub", ["image"]),
        "conv": Node("Conv", ["normalise"]),
        "act": Node("Sigmoid", ["conv"]),
        "rpn": Node("Conv", ["act"]),
        "decode": Node("Exp", ["rpn"]),
        "best": Node("TopK", ["decode"]),
        "pool": Node("RoiAlign", ["act", "best"]),
        "flat": Node("Reshape", ["pool"]),
        "box": Node("Gemm", ["flat"]),
        "boxes": Node("Add", ["box", "best"]),
    }
    layers, outside = split_graph(nodes, ["box", "rpn", "conv"])
    assert layers == ["conv", "rpn", "box"]  # in the order of computation
    assert outside == ["decode", "best", "pool", "boxes"]


@pytest.mark.parametrize(
    ("flags", "machine", "limit", "exact"),
    [
        ("avx2 avx512_vnni", "x86_64", "", True),
        ("avx2 avx_vnni", "x86_64", "", True),
        ("avx2 avx512f", "x86_64", "", False),
        ("avx2 avx512_vnni", "x86_64", "AVX2", False),
        ("", "aarch64", "", True),
    ],
)
def test_the_processor_says_whether_sums_saturate(flags, machine, limit, exact, monkeypatch):
    monkeypatch.setattr(arithmetic, "processor_flags", lambda: frozenset(flags.split()))
    monkeypatch.setattr(arithmetic.platform, "machine", lambda: machine)
    monkeypatch.setenv(arithmetic.LIMIT, limit)
    assert arithmetic_here().exact is exact


def test_one_pictures_outlier_does_not_stretch_the_ranges(network, pictures, tmp_path):
    outlier = {"image": pictures[0]["image"] * 100}
    prepared, out = onnx_int8.prepare(network, tmp_path), tmp_path / "int8.onnx"
    onnx_int8.quantise(prepared, [*pictures, outlier], out, FACTS, arithmetic=VNNI, floats=["relu9", "decode"])
    [scale] = [numpy_helper.to_array(each) for each in onnx.load(out).graph.initializer if each.name == "image_scale"]
    greatest = [each["image"].max() for each in (*pictures, outlier)]
    assert 255 * scale == pytest.approx(np.mean(greatest), rel=1e-3) and max(greatest) > 4 * np.mean(greatest)


@pytest.mark.parametrize(("kind", "stored"), [(VNNI, np.int8), (NONE, np.uint8)])
def test_weights_are_unsigned_where_signed_ones_saturate(kind, stored, network, pictures, tmp_path):
    prepared = onnx_int8.prepare(network, tmp_path)
    layers, outside = onnx_int8.layers(prepared)
    assert (layers, outside) == ([f"conv{number}" for number in range(LAYERS)], ["relu9", "decode"])
    out = tmp_path / "int8.onnx"
    onnx_int8.quantise(prepared, pictures, out, FACTS, arithmetic=kind, floats=outside)
    model = onnx.load(out)
    weights = [numpy_helper.to_array(each) for each in model.graph.initializer if each.name.endswith("_quantized")]
    assert {each.dtype.type for each in weights if each.ndim == 4} == {stored}
    scales = [each for each in model.graph.initializer if each.name == "w0_scale"]
    assert scales[0].dims == [8]  # per channel
    product = next(node for node in model.graph.node if node.op_type == "Mul")
    following = [node.op_type for node in model.graph.node if product.output[0] in node.input]
    assert following == [] and product.output[0] == "logits"  # nothing is rounded after it
    assert onnx_files.facts(out) == FACTS


def test_a_file_that_loses_little_is_kept_as_it_is(task, tmp_path):
    found = quantise(task, tmp_path, lambda path: 0.2, 0.5)
    assert found.path and found.drop == 0.2
    assert found.note == "VNNI: unsigned activations, signed weights, per channel; 4 training pictures"
    assert onnxruntime.InferenceSession(found.path).get_inputs()[0].name == "image"


def test_the_costliest_layers_are_found_named_and_left_in_float(task, tmp_path):
    task = dataclasses.replace(task, pictures=task.pictures[:1])  # nothing is cut of the range of one
    groups = rank_groups(task, onnx_int8.prepare(task.source, tmp_path), tmp_path)
    assert sorted(layer for group in groups for layer in group.layers) == [f"conv{number}" for number in range(LAYERS)]
    assert len(groups) == search.GROUPS and "conv3" in groups[0].layers
    assert groups[0].decibels < groups[1].decibels - 3

    drops = iter([2.0, 0.4])
    found = quantise(task, tmp_path, lambda path: next(drops), 0.5)
    assert found.path and found.drop == 0.4
    assert "2.0 lost by all layers, so in float: " in found.note and "conv3" in found.note
    layers = {node.name: node for node in onnx.load(found.path).graph.node}
    assert layers["conv3"].input[1] == "w3"  # as it was
    assert layers["conv9"].input[1] != "w9"


def test_where_nothing_helps_no_file_is_kept_and_the_costly_layers_are_named(task, tmp_path):
    drops = iter([3.0, 2.0, 1.0])
    found = quantise(task, tmp_path, lambda path: next(drops), 0.5)
    assert found == Quantised(None, 1.0, found.note)
    assert "not kept: 3.0 lost by all of 10 layers, 1.0 without the costliest" in found.note and "conv3" in found.note


def test_groups_are_neighbours_of_nearly_equal_numbers():
    groups = split_layers([str(number) for number in range(1, 20)])
    assert [group.first for group in groups] == [1, 4, 7, 10, 12, 14, 16, 18]
    assert [len(group.layers) for group in split_layers(["a", "b"])] == [1, 1]


def test_formats_that_cannot_be_quantised_are_named(monkeypatch):
    with pytest.raises(UserError, match="INT8 is made of onnx and openvino files, not of ncnn"):
        check_quantisable("ncnn")
    monkeypatch.setattr(search.importlib.util, "find_spec", lambda name: None if name == "nncf" else object())
    with pytest.raises(UserError, match=r"needs nncf, not installed here: pip install 'rexnet-benchmark\[quantise\]'"):
        check_quantisable("openvino")


# Run where oneDNN may take no VNNI: how far an INT8 file is from its file in float, with the fix and without.
SATURATE = """
import json, pathlib, sys
import numpy as np
from benchmark.inference.export import openvino as files
from benchmark.inference.quantise import openvino_int8
from benchmark.inference.quantise.arithmetic import Arithmetic
import openvino
folder = pathlib.Path(sys.argv[1])
pictures = [{"image": np.random.default_rng(0).uniform(250, 255, (1, 3, 8, 8)).astype(np.float32)}]
files.save(openvino.convert_model(folder / "large.onnx"), {"kind": "classifier"}, folder / "large.xml")
prepared = openvino_int8.prepare(folder / "large.xml", folder)
layers, outside = openvino_int8.layers(prepared)
assert len(layers) == 1, layers  # the product is merged into it
expected = files.load(prepared, 1)(pictures[0])["logits"]
off = {}
for exact in (True, False):
    out = folder / f"{exact}.xml"
    openvino_int8.quantise(
        prepared, pictures, out, {"kind": "classifier"}, arithmetic=Arithmetic(exact, ""), floats=outside
    )
    assert files.facts(out) == {"kind": "classifier"}
    off[exact] = float(abs(files.load(out, 1)(pictures[0])["logits"] / expected - 1).max())
print(json.dumps([off[True], off[False]]))
"""


@pytest.mark.slow
def test_without_vnni_sums_saturate_unless_weights_have_seven_bits(tmp_path):
    """The real thing: oneDNN without VNNI, a layer whose sums are as large as they can be."""
    if not arithmetic.processor_flags():
        pytest.skip("sums of bytes saturate on x86 alone")
    weights = [numpy_helper.from_array(np.full((16, 3, 3, 3), 0.5, np.float32), "w")]
    weights.append(numpy_helper.from_array(np.float32(0.01), "scale"))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["c"], "conv"),
            helper.make_node("Mul", ["c", "scale"], ["logits"], "decode"),
        ],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 16, 6, 6))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (tmp_path / "large.onnx").write_bytes(model.SerializeToString())
    found = {}
    for limit in ("AVX2", "ALL"):
        done = subprocess.run(
            [sys.executable, "-c", SATURATE, tmp_path],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), arithmetic.LIMIT: limit},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        found[limit] = json.loads(done.stdout.splitlines()[-1])
    unfixed, fixed = found["AVX2"]
    assert unfixed > 0.2 and fixed < 0.02
    if arithmetic_here().exact:
        assert max(found["ALL"]) < 0.02
