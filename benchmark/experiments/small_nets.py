"""Small classifiers of inverted bottlenecks and their training, for pictures of 32x32 pixels."""

from collections.abc import Callable, Sequence
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


class Classifier(nn.Module):
    """A 3x3 stem, blocks, pooling and a linear classifier."""

    def __init__(self, stem: int, blocks: Sequence[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(3, stem, 3), nn.ReLU6(), *blocks)
        self.classifier = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        """Map pictures (N, 3, 32, 32) to pooled features (N, features)."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (N, 3, 32, 32) to logits (N, classes)."""
        return self.classifier(self.features(x))


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outputs)


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum and a cosine schedule; pictures are flipped and shifted at random if ``augment``."""

    epochs: int
    batch_size: int
    learning_rate: float
    augment: bool = True


def train(net: nn.Module, pictures: Pictures, recipe: Recipe, seed: int) -> None:
    """Train a network in place; the seed decides order and augmentation."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = _tensor(pictures.train), torch.from_numpy(pictures.train_labels).long()
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, _MOMENTUM, weight_decay=_WEIGHT_DECAY, nesterov=True
    )
    steps = recipe.epochs * max(1, len(images) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    net.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images), generator=generator)
        for batch in order.split(recipe.batch_size):
            if len(batch) < min(recipe.batch_size, len(images)):
                continue  # a last short batch has other statistics
            chosen = _augment(images[batch], generator) if recipe.augment else images[batch]
            optimizer.zero_grad()
            functional.cross_entropy(net(chosen), labels[batch]).backward()
            optimizer.step()
            schedule.step()


def test(net: Classifier, pictures: Pictures) -> tuple[float, np.ndarray]:
    """Return the accuracy in percent, and the features (N, channels) of the pictures to test on."""
    net.eval()
    labels = torch.from_numpy(pictures.test_labels)
    with torch.no_grad():
        features = torch.cat([net.features(part) for part in _tensor(pictures.test).split(_BATCH_OF_TEST)])
        correct = net.classifier(features).argmax(1) == labels
    return 100 * float(correct.float().mean()), features.double().numpy()


def _tensor(pictures: np.ndarray) -> Tensor:
    """Return pictures (N, H, W, 3) of bytes as (N, 3, H, W) around 0."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    flipped = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    padded = functional.pad(images, [_PADDING] * 4)
    top, left = torch.randint(0, 2 * _PADDING + 1, (2,), generator=generator).tolist()
    return padded[:, :, top : top + images.shape[2], left : left + images.shape[3]]
