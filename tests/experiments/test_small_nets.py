"""Small networks and their training, and the pictures that they are trained on."""

import numpy as np
import pytest
import torch

from backbones.errors import UserError
from benchmark.experiments import small_data, small_nets
from benchmark.experiments.run import run_experiment
from benchmark.experiments.small_data import Pictures, Source
from benchmark.experiments.small_nets import Classifier, InvertedBottleneck, Recipe


@pytest.mark.parametrize(("shape", "adds"), [((6, 6, 1), True), ((6, 8, 1), False), ((6, 6, 2), False)])
def test_a_block_adds_its_input_where_the_shape_is_the_same(shape, adds):
    inputs, outputs, stride = shape
    block = InvertedBottleneck(inputs, outputs, 2, torch.nn.ReLU, torch.nn.ReLU6, stride).eval()
    images = torch.randn(2, inputs, 4, 4)
    expected = block.body(images) + images if adds else block.body(images)
    torch.testing.assert_close(block(images), expected)
    assert block(images).shape == (2, outputs, 4 // stride, 4 // stride)


def pictures(count: int) -> Pictures:
    """Two classes, dark and bright."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(0).integers(0, 60, (count, 8, 8, 3))
    images = (noise + 120 * labels[:, None, None, None]).astype(np.uint8)
    return Pictures(images, labels, images, labels)


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


def test_a_training_stops_early_and_takes_the_weights_of_its_best_epoch():
    torch.manual_seed(0)
    net = Classifier(4, [InvertedBottleneck(4, 6, 2, torch.nn.ReLU6, torch.nn.ReLU6)], 6, 2)
    recipe = Recipe(epochs=30, batch_size=8, learning_rate=0.1, patience=2, held_out=0.25)
    history = small_nets.train(net, pictures(32), recipe, 0)
    best = history.index(max(history))
    assert len(history) == best + 3 < 30
    held_out = Pictures(*[array[24:] for array in (pictures(32).train, pictures(32).train_labels)] * 2)
    assert small_nets.test(net, held_out)[0] == pytest.approx(max(history))


def test_no_picture_that_is_held_out_is_trained_on():
    learned = []
    for labels in ([0, 1] * 16, [0, 1] * 12 + [1, 0] * 4):  # the held-out labels differ
        torch.manual_seed(0)
        net = Classifier(4, [InvertedBottleneck(4, 6, 2, torch.nn.ReLU6, torch.nn.ReLU6)], 6, 2)
        data = pictures(32)
        data = Pictures(data.train, np.array(labels), data.test, data.test_labels)
        small_nets.train(net, data, Recipe(1, 8, 0.1, patience=1, held_out=0.25), 0)
        learned.append(net.classifier.weight.detach().clone())
    assert torch.equal(*learned)


class Recorder(torch.nn.Module):
    """Keeps what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.seen = torch.nn.Parameter(torch.zeros(2)), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += x[:, 0].reshape(-1, x.shape[3]).tolist()
        return self.bias.expand(len(x), 2)


@pytest.mark.parametrize("mirrors", [True, False])
def test_pictures_are_mirrored_where_that_leaves_their_class(mirrors):
    rising = np.broadcast_to(np.arange(150, 230, 10, dtype=np.uint8)[:, None], (8, 8, 8, 3)).copy()  # along the width
    labels, net = np.arange(8) % 2, Recorder()
    small_nets.train(net, Pictures(rising, labels, rising, labels, mirrors), Recipe(4, 4, 0.1), 0)
    inside = [[value for value in row if value > 0] for row in net.seen]  # without the zeros around
    assert all(row == sorted(row) for row in inside) is not mirrors


def test_digits_are_scikit_learns(tmp_path):
    datasets = pytest.importorskip("sklearn.datasets")
    found = Source("digits", tmp_path, 10_000, 10_000).load()
    assert found.classes == 10 and not found.mirrors
    assert found.train.shape[1:] == (32, 32, 3) and len(found.train) + len(found.test) == 1797
    assert sorted([*found.train_labels, *found.test_labels]) == sorted(datasets.load_digits().target)
    assert found.train.max() == 255 and len(Source("digits", tmp_path, 7, 5).load().train) == 7


def test_missing_cifar_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"CIFAR-100 is not whole in .*cifar-100-python"):
        run_experiment("factors", work_dir=tmp_path / "run", data_root=tmp_path)
    with pytest.raises(UserError, match=r"CIFAR-10 is not whole in .*cifar-10-batches"):
        run_experiment("factors", work_dir=tmp_path / "run", data_root=tmp_path, data="cifar10")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "cifar10"}, "give their folder with --data-root"),
        ({"data": "shapes", "data_root": "x"}, "leave --data-root"),
    ],
)
def test_data_and_their_folder_go_together(tmp_path, options, words):
    place = {"data_root": tmp_path} if "data_root" in options else {}
    with pytest.raises(UserError, match=words):
        run_experiment("factors", work_dir=tmp_path / "run", **{**options, **place})
    with pytest.raises(UserError, match="takes no data"):
        run_experiment("rank", work_dir=tmp_path / "run", **{**options, **place})


def test_digits_without_their_package_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"rexnet-benchmark\[science\]"):
        small_data.check_data("digits", None)
