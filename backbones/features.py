"""The one MMDetection backbone: any catalogue entry -> feature maps."""

from dataclasses import dataclass
from functools import partial

import timm
import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.catalogue import Entry, find_entry
from backbones.rexnet import ReXNet
from backbones.weights import load_pretrained
from benchmark.errors import UserError


@dataclass(frozen=True)
class FeatureSpec:
    """What a backbone gives: channels and strides of its feature maps, finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]


def feature_spec(name: str, taps: str) -> FeatureSpec:
    """Return channels and strides for ``taps`` ``pyramid`` (C2..C5) or ``ssdlite`` (paper, section 5.2).

    Raises:
        UserError: unknown backbone or taps.
    """
    entry = find_entry(name)
    if taps == "pyramid":
        return FeatureSpec(entry.channels[1:], (4, 8, 16, 32))
    if taps == "ssdlite":
        return FeatureSpec(tuple(channels for _, channels in entry.ssdlite), (16, 32))
    raise UserError(f"Unknown taps {taps!r} for backbone {name}: expected 'pyramid' or 'ssdlite'.")


def build_network(name: str, num_classes: int = 1000) -> nn.Module:
    """Build the whole network of a catalogue entry, classifier included, with random weights."""
    entry = find_entry(name)
    if entry.rexnet_width is not None:
        return ReXNet(entry.rexnet_width, num_classes=num_classes)
    return timm.create_model(entry.timm, num_classes=num_classes)


@MODELS.register_module()
class Backbone(BaseModule):
    """Feature maps of a catalogue entry, finest first.

    Args:
        name: a name of the catalogue, or ``timm:<model>``.
        taps: ``pyramid`` for C2..C5 at strides 4, 8, 16, 32; ``ssdlite`` for its two maps at strides 16 and 32.
        pretrained: ``imagenet``, a .pth or .safetensors file, or None; loaded by ``init_weights`` before a training
            begins, not when a checkpoint is evaluated.
        frozen_stages: freeze everything up to and including C(k+1): 0 the layers before stride 4, 1 also those of C2,
            ... 4 all. -1 freezes nothing. Frozen layers have no gradients and their BN stays in eval mode.
        norm_eval: keep all BN layers in eval mode during training (their statistics do not move).
        norm_requires_grad: whether BN's weight and bias are trained.

    Attributes:
        channels: channels of the feature maps.
        strides: their strides in pixels.
    """

    def __init__(
        self,
        name: str,
        taps: str = "pyramid",
        pretrained: str | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_requires_grad: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not -1 <= frozen_stages <= 4:
            raise UserError(f"frozen_stages={frozen_stages} of backbone {name}: expected -1 (none) to 4 (all).")
        spec = feature_spec(name, taps)
        self.name = name
        self.channels, self.strides = spec.channels, spec.strides
        self.pretrained = pretrained
        self.norm_eval = norm_eval
        self.net = build_network(name)
        self._levels = {level["reduction"]: level["module"] for level in _feature_info(self.net)}
        modules = _tap_modules(find_entry(name), taps, self._levels)
        _drop_after(self.net, modules[-1])
        self._maps: dict[int, Tensor] = {}
        for index, module in enumerate(modules):
            self.net.get_submodule(module).register_forward_hook(partial(self._keep, index))
        self._frozen = self._freeze(frozen_stages)
        if not norm_requires_grad:
            for norm in _norms(self.net):
                norm.requires_grad_(False)
        self.train()

    def init_weights(self) -> None:
        """Load the pretrained weights, if any were asked for."""
        if self.pretrained:
            with torch.device("meta"):
                full = build_network(self.name)
            load_pretrained(self.net, full, self.name, self.pretrained)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, 3, H, W) to feature maps (N, channels[i], H / strides[i], W / strides[i])."""
        self.net.forward_features(x)
        maps = tuple(self._maps[index] for index in sorted(self._maps))
        self._maps.clear()
        return maps

    def train(self, mode: bool = True) -> "Backbone":
        """Switch the mode; frozen layers, and with ``norm_eval`` all BN layers, stay in eval mode."""
        super().train(mode)
        if mode:
            for module in self._frozen:
                module.eval()
            if self.norm_eval:
                for norm in _norms(self.net):
                    norm.eval()
        return self

    def _keep(self, index: int, module: nn.Module, args: tuple, output: Tensor) -> None:
        self._maps[index] = output

    def _freeze(self, frozen_stages: int) -> list[nn.Module]:
        if frozen_stages < 0:
            return []
        strides = [stride for stride in sorted(self._levels) if stride <= 2 ** (frozen_stages + 1)]
        frozen = _modules_up_to(self.net, self._levels[strides[-1]]) if strides else []
        for module in frozen:
            module.requires_grad_(False)
        return frozen


def _feature_info(net: nn.Module) -> list[dict]:
    info = net.feature_info
    return info if isinstance(info, list) else info.get_dicts()


def _tap_modules(entry: Entry, taps: str, levels: dict[int, str]) -> list[str]:
    if taps == "ssdlite":
        return [module for module, _ in entry.ssdlite]
    return [levels[stride] for stride in (4, 8, 16, 32)]


def _modules_up_to(net: nn.Module, path: str) -> list[nn.Module]:
    """Return the modules that run before the one at ``path``, and that one: registration order is execution order."""
    before, parent = [], net
    for part in path.split("."):
        names = list(parent._modules)
        before += [parent.get_submodule(name) for name in names[: names.index(part)]]
        parent = parent.get_submodule(part)
    return [*before, parent]


def _drop_after(net: nn.Module, path: str) -> None:
    """Replace by identities what runs after the module at ``path``, so that no unused parameter is left."""
    parent = net
    for part in path.split("."):
        names = list(parent._modules)
        for name in names[names.index(part) + 1 :]:
            parent._modules[name] = nn.Identity()
        parent = parent.get_submodule(part)


def _norms(net: nn.Module) -> list[nn.Module]:
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]
