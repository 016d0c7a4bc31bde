"""What a row of a family says of a backbone: the contract between the networks and everything that uses them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from timm.models import FeatureInfo
    from torch import Tensor, nn

# What to know of a licence by timm's name of it, where it is none of the usual open ones
_TERMS = {
    "apple-amlr": "Apple's own",
    "apple-ascl": "Apple's own",
    "cc-by-nc-4.0": "not for commercial use",
    "cvnets-license": "Apple's own",
    "fair-noncommercial-research-license": "not for commercial use",
    "fastvit-license": "Apple's own",
    "mobileone-license": "Apple's own",
}

Channels = tuple[int, int, int, int, int]
Taps = tuple[tuple[str, int], tuple[str, int]]


class FeatureNetwork(Protocol):
    """What a network that gives feature maps has besides what every module has; see ``Entry``."""

    feature_info: "list[dict[str, Any]] | FeatureInfo"

    def forward_features(self, x: "Tensor") -> "Tensor":
        """Map images (N, 3, H, W) to the last feature map."""


def channels_of(counts: Iterable[int]) -> Channels:
    """Return the channels of C1..C5, of which there must be five."""
    c1, c2, c3, c4, c5 = counts
    return c1, c2, c3, c4, c5


def describe_licence(licence: str | None) -> str:
    """Return the licence of weights as it is shown: its name, and what to know of it."""
    if licence is None:
        return "licence not recorded"
    return ", ".join(filter(None, (f"licence {licence}", _TERMS.get(licence))))


def last_taps(levels: Iterable[tuple[str, int]]) -> Taps:
    """Return the last two of a network's (module, channels), which SSDLite taps."""
    *_, c4, c5 = levels
    return c4, c5


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared for a backbone's weights; the defaults are ImageNet's usual ones.

    Attributes:
        mean: of red, green and blue in 0..1.
        std: likewise.
        interpolation: of the resize, by Pillow's name.
        crop: side of the central crop as a share of the resized image's shorter side.
        squash: both sides are resized to one length, whatever the image's shape.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop: float = 0.875
    squash: bool = False


@dataclass(frozen=True)
class Published:
    """The cost that a paper states for its network as ImageNet's classifier.

    Attributes:
        params: in millions, None where it states none.
        macs: multiply-adds in billions, likewise.
        source: where in the paper.
        note: why ours differ, where they do by more than counts of biases and batch normalisation explain.

    Raises:
        ValueError: neither is stated.
    """

    params: float | None
    macs: float | None
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.params is None and self.macs is None:
            raise ValueError("Published has params, multiply-adds or both")


@dataclass(frozen=True)
class Entry:
    """A backbone: how it is built, what it gives, and where its weights are.

    A network that gives feature maps has ``forward_features``, registers its modules in the order in which they run,
    and has timm's ``feature_info``: for each of C1..C5 (strides 2, 4, 8, 16, 32) a dict of ``num_chs``, ``reduction``
    (the stride) and ``module`` (whose output it is).

    Attributes:
        build: makes the whole classifier with random weights, called as ``build(num_classes=..., drop_rate=...)``;
            ``drop_rate`` is that of the dropout before the classifier.
        paper: who proposed it.
        channels: channels of C1..C5, or None where the network can only classify.
        ssdlite: (module, channels) of SSDLite's taps at stride 16 and 32; None where ``channels`` is.
        why_not: why it cannot feed a detector, as the end of "it cannot feed a detector: ".
        resolution: side in pixels of the square images it classifies in its paper.
        preprocessing: of its ImageNet weights.
        timm: timm's name of the same network, whose ImageNet weights fit; None where timm has none.
        package: (installed package, file in it) that carries ImageNet weights; it goes before timm's.
        url: of a file of ImageNet weights where neither of these has any.
        licence: of these weights, where it is known.
        published: params and multiply-adds as the paper states them.
        fuse: merges the re-parameterised branches of a network in eval mode, in place, into the convolutions that they
            are together; None where there are none. Networks are trained unfused; counted, timed and exported fused,
            as their papers print them.

    Raises:
        ValueError: some of ``channels``, ``ssdlite`` and ``why_not`` contradict each other.
    """

    build: Callable[..., "nn.Module"]
    paper: str
    channels: Channels | None
    ssdlite: Taps | None
    why_not: str = ""
    resolution: int = 224
    preprocessing: Preprocessing = Preprocessing()
    timm: str | None = None
    package: tuple[str, str] | None = None
    url: str | None = None
    licence: str | None = None
    published: Published | None = None
    fuse: Callable[["nn.Module"], "nn.Module"] | None = None

    def __post_init__(self) -> None:
        if not (self.channels is None) == (self.ssdlite is None) == bool(self.why_not):
            raise ValueError("an Entry has channels and ssdlite, or neither and the reason in why_not")
