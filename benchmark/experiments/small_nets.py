"""Small classifiers of inverted bottlenecks for 32x32 pixels, and their training, on a GPU where there is one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.experiments.small_data import Pictures

Nonlinearity = Callable[[], nn.Module]
_MOMENTUM, _WEIGHT_DECAY = 0.9, 5e-4
_PADDING = 4  # px, of the random crops
_BATCH_OF_TEST = 256


class InvertedBottleneck(nn.Module):
    """MobileNetV2's block: 1x1, depthwise 3x3, linear 1x1, with its input added where the shape is the same.

    Args:
        inputs: channels.
        outputs: channels.
        expansion: of the first 1x1 convolution.
        first: nonlinearity after it.
        second: nonlinearity after the depthwise convolution.
        stride: of that.
    """

    def __init__(
        self, inputs: int, outputs: int, expansion: int, first: Nonlinearity, second: Nonlinearity, stride: int = 1
    ) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.adds = inputs == outputs and stride == 1
        self.body = nn.Sequential(
            *_conv(inputs, hidden),
            first(),
            *_conv(hidden, hidden, 3, stride, hidden),
            second(),
            *_conv(hidden, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.body(x) + x if self.adds else self.body(x)


class PooledClassifier(nn.Module):
    """Layers, pooling and a linear classifier."""

    def __init__(self, layers: Sequence[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        """Map pictures (N, 3, 32, 32) to pooled features (N, features)."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (N, 3, 32, 32) to logits (N, classes)."""
        return self.classifier(self.features(x))


class Classifier(PooledClassifier):
    """A 3x3 stem, its nonlinearity, blocks, pooling and a linear classifier."""

    def __init__(
        self, stem: int, blocks: Sequence[nn.Module], features: int, classes: int, act: Nonlinearity = nn.ReLU6
    ) -> None:
        super().__init__([*_conv(3, stem, 3), act(), *blocks], features, classes)


def pointwise(inputs: int, outputs: int, act: Nonlinearity) -> nn.Module:
    """Return a 1x1 convolution with batch normalisation and a nonlinearity."""
    return nn.Sequential(*_conv(inputs, outputs), act())


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outputs)


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum and a cosine schedule; pictures are mirrored and shifted at random.

    Attributes:
        epochs: at most so many, which the schedule spans.
        batch_size: pictures a step.
        learning_rate: at the beginning.
        patience: epochs without a better accuracy on held-out pictures after which a training stops early and takes the
            weights of its best epoch; 0 holds no pictures out and trains to the end.
        held_out: share of the pictures to train on that is held out for that, the last ones.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int = 0
    held_out: float = 0.1


def train(net: nn.Module, pictures: Pictures, recipe: Recipe, seed: int) -> list[float]:
    """Train a network in place; the seed decides order and augmentation.

    Returns:
        The accuracy in percent on the held-out pictures after every epoch, none where nothing is held out.
    """
    generator, device = torch.Generator().manual_seed(seed), training_device()
    net.to(device)
    kept = len(pictures.train) - (max(1, round(recipe.held_out * len(pictures.train))) if recipe.patience else 0)
    images, labels = _tensor(pictures.train), torch.from_numpy(pictures.train_labels).long().to(device)
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, _MOMENTUM, weight_decay=_WEIGHT_DECAY, nesterov=True
    )
    steps = recipe.epochs * max(1, kept // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history: list[float] = []
    best = net.state_dict()
    for _ in range(recipe.epochs):
        net.train()
        for batch in _batches(kept, recipe.batch_size, generator):
            chosen = _augment(images[batch], pictures.mirrors, generator)
            optimizer.zero_grad()
            functional.cross_entropy(net(chosen), labels[batch]).backward()
            optimizer.step()
            schedule.step()
        if not recipe.patience:
            continue
        history.append(_accuracy(net, images[kept:], labels[kept:]))
        if history[-1] == max(history) > max(history[:-1], default=-1.0):
            best = {key: value.clone() for key, value in net.state_dict().items()}
        if len(history) - 1 - history.index(max(history)) >= recipe.patience:
            break
    if history:
        net.load_state_dict(best)
    return history


def training_device() -> torch.device:
    """Return the GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test(net: PooledClassifier, pictures: Pictures) -> tuple[float, np.ndarray]:
    """Return the accuracy in percent, and the features (N, channels) of the pictures to test on."""
    net.eval()
    labels = torch.from_numpy(pictures.test_labels)
    with torch.no_grad():
        features = torch.cat([net.features(part) for part in _tensor(pictures.test).split(_BATCH_OF_TEST)])
        correct = net.classifier(features).argmax(1).cpu() == labels
    return 100 * float(correct.float().mean()), features.cpu().double().numpy()


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the places of an epoch's batches; a last short one, of other statistics, is left out."""
    for batch in torch.randperm(count, generator=generator).split(size):
        if len(batch) == min(size, count):
            yield batch


def _accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in images.split(_BATCH_OF_TEST)])
    return 100 * float((found == labels).float().mean())


def _tensor(pictures: np.ndarray) -> Tensor:
    """Return pictures (N, H, W, 3) of bytes as (N, 3, H, W) around 0, where networks are trained."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(training_device()) / 127.5 - 1


def _augment(images: Tensor, mirrors: bool, generator: torch.Generator) -> Tensor:
    if mirrors:
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = functional.pad(images, [_PADDING] * 4)
    top, left = torch.randint(0, 2 * _PADDING + 1, (2,), generator=generator).tolist()
    return padded[:, :, top : top + images.shape[2], left : left + images.shape[3]]
