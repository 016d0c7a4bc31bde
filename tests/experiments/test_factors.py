"""Table 2's models: widths solved, steps judged as stated, trained end to end on small data, and CIFAR checked."""

import numpy as np
import pytest
import torch
from scipy import linalg

from backbones.errors import UserError
from benchmark.experiments import factors, small_data, small_nets
from benchmark.experiments.factors import MODELS, count, judge_steps, measure, solve_stem, widths
from benchmark.experiments.run import run_experiment
from benchmark.experiments.small_nets import Classifier, InvertedBottleneck, Recipe
from benchmark.measuring.complexity import count_macs
from benchmark.records.verdicts import Verdict


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.label)
def test_widths_meet_the_printed_multiply_adds_and_ratios(model):
    stem = solve_stem(model)
    assert count(model, stem) / 1e6 == pytest.approx(model.macs, rel=0.03)  # whole channels
    inputs, middle, outputs = widths(model, stem)
    assert [inputs / middle, middle / outputs] == pytest.approx([model.ratio] * 2, rel=0.05)
    with torch.device("meta"):
        net = factors.build(model, 100).eval()
        assert count_macs(lambda: net(torch.zeros(1, 3, 32, 32)))[0] == count(model, stem)


def test_measures_are_scipys():
    features = np.random.default_rng(0).normal(size=(40, 5)) * [1, 2, 3, 4, 0]
    found = measure(features)
    assert found["nuclear"] == pytest.approx(linalg.svdvals(features).sum())
    assert 0 < found["normalised"] < 1
    equal = linalg.hadamard(8)[:, 1:5] * [1.0, 10.0, 100.0, 1000.0]  # centred, orthogonal
    assert measure(equal)["normalised"] == pytest.approx(1)


def test_steps_are_judged_by_pairs_of_seeds():
    rising = np.array([[1.0, 2, 3, 4], [11, 12.1, 13, 14], [21, 22, 23.1, 24]])
    assert judge_steps(rising)[0] == Verdict.AGREES
    assert judge_steps(rising[:, ::-1])[0] == Verdict.DISAGREES
    assert judge_steps(rising[:1])[0] == Verdict.CANNOT_TELL


@pytest.mark.parametrize(("shape", "adds"), [((6, 6, 1), True), ((6, 8, 1), False), ((6, 6, 2), False)])
def test_a_block_adds_its_input_where_the_shape_is_the_same(shape, adds):
    inputs, outputs, stride = shape
    block = InvertedBottleneck(inputs, outputs, 2, torch.nn.ReLU, torch.nn.ReLU6, stride).eval()
    images = torch.randn(2, inputs, 4, 4)
    expected = block.body(images) + images if adds else block.body(images)
    torch.testing.assert_close(block(images), expected)
    assert block(images).shape == (2, outputs, 4 // stride, 4 // stride)


def pictures(count: int) -> small_data.Pictures:
    """Two classes, dark and bright."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(0).integers(0, 60, (count, 8, 8, 3))
    images = (noise + 120 * labels[:, None, None, None]).astype(np.uint8)
    return small_data.Pictures(images, labels, images, labels)


def trained(seed: int) -> float:
    torch.manual_seed(0)
    net = Classifier(4, [InvertedBottleneck(4, 6, 2, torch.nn.ReLU6, torch.nn.ReLU6)], 6, 2)
    small_nets.train(net, pictures(32), Recipe(epochs=6, batch_size=8, learning_rate=0.1), seed)
    accuracy, features = small_nets.test(net, pictures(32))
    assert features.shape == (32, 6)
    return accuracy + float(features.sum())


def test_training_learns_and_its_seed_decides():
    assert trained(0) == trained(0) != trained(1)
    torch.manual_seed(0)
    net = Classifier(4, [InvertedBottleneck(4, 6, 2, torch.nn.ReLU6, torch.nn.ReLU6)], 6, 2)
    small_nets.train(net, pictures(32), Recipe(epochs=6, batch_size=8, learning_rate=0.1), 0)
    assert small_nets.test(net, pictures(32))[0] > 90


def test_missing_cifar_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"CIFAR-100 is not whole in .*cifar-100-python"):
        run_experiment("factors", work_dir=tmp_path / "run", data_root=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_it_runs_end_to_end_on_small_data_and_says_so(tmp_path, monkeypatch):
    tiny = {"epochs": 1, "train": 16, "test": 16, "scenes": [6, 6], "batch_size": 8}
    for key, value in tiny.items():
        monkeypatch.setitem(factors.QUICK, key, value)
    monkeypatch.setattr("benchmark.experiments.run.available_cores", lambda: 0)
    made, folder = run_experiment("factors", work_dir=tmp_path / "run", quick=True)
    assert made.small_data and "small data: no reproduction" in made.title and small_data.SHAPES in made.title
    assert all(figure.printed is None for figure in made.figures)  # never beside the paper's
    assert (folder / "figure.png").is_file()
