"""ReXNet (plain): MobileNetV1's depthwise-separable blocks, without shortcuts, with channels that grow linearly.

Source: Han, Yun, Heo, Yoo, "Rethinking Channel Dimensions for Efficient Model Design", CVPR 2021, section 4.4: linear
channels on MobileNetV1, 2.3 points of top-1 above its 72.5%. SiLU replaces the ReLU6 after a 1x1 convolution alone,
since a depthwise one does not widen (the authors' talk on the paper).

Where the strides are, and whether a 1x1 convolution comes last, stands in the paper's appendix B alone, which no public
text at hand shows. So there are two candidates, and neither is called the paper's: A has the layout of a third party's
code (ffiirree/cv-models, cvm/models/rexnet.py), B that of MobileNetV1, whose multiply-adds it also has. The blocks'
channels are that code's in both.
"""

from functools import partial

from timm.layers import ClassifierHead, ConvNormAct
from timm.models._efficientnet_builder import efficientnet_init_weights
from torch import Tensor, nn

from backbones.entry import Entry, channels_of

STEM_CHANNELS = 32
# Output channels of the 13 blocks: a step of 48, then MobileNetV1's last width
CHANNELS = (*range(96, 625, 48), 1024)
# Candidate -> (blocks with stride 2, counted from 0; channels of a last 1x1 convolution, None without one)
LAYOUTS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "a": ((0, 2, 4, 10), 1280),
    "b": ((1, 3, 5, 11), None),
}


class PlainBlock(nn.Sequential):
    """Depthwise 3x3 with ReLU6, then 1x1 with SiLU: (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(
            ConvNormAct(in_channels, in_channels, 3, stride, groups=in_channels, act_layer=nn.ReLU6),
            ConvNormAct(in_channels, channels, 1, act_layer=nn.SiLU),
        )


class ReXNetPlain(nn.Module):
    """A candidate of ReXNet (plain), ``a`` or ``b``.

    Attributes:
        feature_info: one dict a level C1..C5 with ``num_chs``, ``reduction`` (stride) and ``module`` (whose output
            it is), as timm's models have it.
    """

    def __init__(self, candidate: str, num_classes: int = 1000, drop_rate: float = 0.2) -> None:
        super().__init__()
        strided, last_channels = LAYOUTS[candidate]
        self.stem = ConvNormAct(3, STEM_CHANNELS, 3, stride=2, act_layer=nn.SiLU)
        self.blocks = nn.Sequential()
        in_channels = STEM_CHANNELS
        for index, channels in enumerate(CHANNELS):
            self.blocks.append(PlainBlock(in_channels, channels, 2 if index in strided else 1))
            in_channels = channels
        self.num_features = last_channels or in_channels
        self.last = ConvNormAct(in_channels, last_channels, 1, act_layer=nn.SiLU) if last_channels else nn.Identity()
        self.head = ClassifierHead(self.num_features, num_classes, drop_rate=drop_rate)
        self.feature_info = [
            {"num_chs": channels, "reduction": 2**level, "module": module}
            for level, (module, channels) in enumerate(_levels(candidate), start=1)
        ]
        efficientnet_init_weights(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, num_features, H / 32, W / 32)."""
        return self.last(self.blocks(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.forward_features(x))


def _levels(candidate: str) -> list[tuple[str, int]]:
    """Return (module, channels) of C1..C5: what comes before each halving, and the last block."""
    strided, _ = LAYOUTS[candidate]
    blocks = [*(index - 1 for index in strided), len(CHANNELS) - 1]
    return [(f"blocks.{index}", CHANNELS[index]) if index >= 0 else ("stem", STEM_CHANNELS) for index in blocks]


def _entry(candidate: str) -> Entry:
    """Return a candidate's entry. SSDLite taps C4, since nothing expands, and the last 1x1 convolution or else C5."""
    levels, (_, last_channels) = _levels(candidate), LAYOUTS[candidate]
    paper = (
        "Han et al., Rethinking Channel Dimensions for Efficient Model Design, CVPR 2021, in a layout that may differ"
    )
    last = ("last", last_channels) if last_channels else levels[-1]
    return Entry(
        partial(ReXNetPlain, candidate), paper, channels_of(channels for _, channels in levels), (levels[-2], last)
    )


ROWS = {f"rexnet_plain_candidate_{candidate}": _entry(candidate) for candidate in LAYOUTS}
