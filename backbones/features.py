"""The one MMDetection backbone: any catalogue entry -> feature maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.catalogue import build_network, find_entry, fuse_network
from backbones.entry import Entry, FeatureNetwork
from backbones.errors import UserError
from backbones.weights import find_weights, load_pretrained


@dataclass(frozen=True)
class FeatureSpec:
    """What a backbone gives: channels and strides of its feature maps, finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]


def feature_spec(name: str, taps: str) -> FeatureSpec:
    """Return channels and strides for ``taps`` ``pyramid`` (C2..C5) or ``ssdlite`` (paper, section 5.2).

    Raises:
        UserError: unknown backbone or taps, or a network that can only classify.
    """
    entry = find_entry(name)
    if entry.channels is None or entry.ssdlite is None:
        raise UserError(f"{name} cannot feed a detector: {entry.why_not}.")
    if taps == "pyramid":
        return FeatureSpec(entry.channels[1:], (4, 8, 16, 32))
    if taps == "ssdlite":
        return FeatureSpec(tuple(channels for _, channels in entry.ssdlite), (16, 32))
    raise UserError(f"Unknown taps {taps!r} for backbone {name}: expected 'pyramid' or 'ssdlite'.")


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
        init_cfg: as MMEngine has it; a ``Pretrained`` in it means ``pretrained``, so its file must fit as well.

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
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        init_cfgs, checkpoint = _split_init_cfg(init_cfg)
        super().__init__(init_cfgs)
        if pretrained and checkpoint:
            raise UserError(
                f"Backbone {name} has both pretrained={pretrained!r} and init_cfg with checkpoint={checkpoint!r}: "
                "give one of them."
            )
        spec = feature_spec(name, taps)
        self.name = name
        self.channels, self.strides = spec.channels, spec.strides
        self.pretrained = pretrained or checkpoint
        self.norm_eval = norm_eval
        self.net = build_network(name)
        self._levels = _level_paths(self.net)
        self._taps = _tap_modules(find_entry(name), taps, self._levels)
        _drop_after(self.net, self._taps[-1])
        self._maps: dict[int, Tensor] = {}
        self._hooked: dict[int, nn.Module] = {}
        self._hook_taps()
        self._frozen = freeze_stages(self.net, name, frozen_stages)
        if not norm_requires_grad:
            for norm in _norms(self.net):
                norm.requires_grad_(False)
        self.train()

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, then load the pretrained weights, each if it was asked for."""
        if self.init_cfg:
            super().init_weights()
        if self.pretrained:
            load_pretrained(self.net, self.name, self.pretrained)

    def check_weights(self) -> None:
        """Read the pretrained weights, if any were asked for, and raise a UserError if they do not fit."""
        if self.pretrained:
            find_weights(self.net, self.name, self.pretrained)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, 3, H, W) to feature maps (N, channels[i], H / strides[i], W / strides[i])."""
        self._hook_taps()
        cast(FeatureNetwork, self.net).forward_features(x)
        maps = tuple(self._maps[index] for index in sorted(self._maps))
        self._maps.clear()
        return maps

    def train(self, mode: bool = True) -> "Backbone":
        """Switch the mode; frozen layers, and with ``norm_eval`` all BN layers, stay in eval mode."""
        super().train(mode)
        if mode:
            for path in self._frozen:
                self.net.get_submodule(path).eval()
            if self.norm_eval:
                for norm in _norms(self.net):
                    norm.eval()
        return self

    def fuse(self) -> "Backbone":
        """Merge re-parameterised branches, in place and in eval mode: the same maps in fewer layers, for no training.

        Raises:
            RuntimeError: in training mode.
        """
        if self.training:
            raise RuntimeError("a backbone's branches are merged in eval mode")
        self.net = fuse_network(self.name, self.net)
        return self

    def _hook_taps(self) -> None:
        """Hook the tapped modules, and anew where SyncBN's conversion or ``fuse`` has put others in their places."""
        for index, path in enumerate(self._taps):
            module = self.net.get_submodule(path)
            if self._hooked.get(index) is not module:
                module.register_forward_hook(partial(self._keep, index))
                self._hooked[index] = module

    def _keep(self, index: int, module: nn.Module, args: tuple, output: Tensor) -> None:
        self._maps[index] = output


def freeze_stages(net: nn.Module, name: str, frozen_stages: int) -> list[str]:
    """Freeze a network of the catalogue up to and including C(k+1): no gradients.

    Args:
        net: the network.
        name: its own.
        frozen_stages: see ``Backbone``.

    Returns:
        The modules that are frozen, by their paths; their BN is to stay in eval mode.

    Raises:
        UserError: no such stage.
    """
    if not -1 <= frozen_stages <= 4:
        raise UserError(f"frozen_stages={frozen_stages} of backbone {name}: expected -1 (none) to 4 (all).")
    if frozen_stages < 0:
        return []
    frozen = [""] if frozen_stages == 4 else _first_stages(net, name, frozen_stages)
    for path in frozen:
        net.get_submodule(path).requires_grad_(False)
    return frozen


def _first_stages(net: nn.Module, name: str, frozen_stages: int) -> list[str]:
    entry = find_entry(name)
    if entry.channels is None:
        raise UserError(
            f"frozen_stages={frozen_stages} of backbone {name}: it has no such stages ({entry.why_not}); 4 freezes all."
        )
    levels = _level_paths(net)
    strides = [stride for stride in sorted(levels) if stride <= 2 ** (frozen_stages + 1)]
    if not strides:
        raise UserError(
            f"frozen_stages=0 of backbone {name}: it has no layers before stride 4; "
            "-1 freezes nothing, 1 what comes before stride 8."
        )
    return _paths_up_to(net, levels[strides[-1]])


def _split_init_cfg(init_cfg: dict | list[dict] | None) -> tuple[list[dict], str | None]:
    """Take the checkpoint out of an init_cfg: MMEngine's own loading skips keys that do not fit and may run code."""
    cfgs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    checkpoints = [cfg["checkpoint"] for cfg in cfgs if cfg["type"] == "Pretrained"]
    return [cfg for cfg in cfgs if cfg["type"] != "Pretrained"], checkpoints[-1] if checkpoints else None


def _level_paths(net: nn.Module) -> dict[int, str]:
    """Return stride -> module of C1..C5; timm's record names for C1 a module that some networks do not have."""
    info = cast(FeatureNetwork, net).feature_info
    levels = info if isinstance(info, list) else info.get_dicts()
    paths = {path for path, _ in net.named_modules()} - {""}
    return {level["reduction"]: level["module"] for level in levels if level["module"] in paths}


def _tap_modules(entry: Entry, taps: str, levels: dict[int, str]) -> list[str]:
    if taps == "ssdlite":
        assert entry.ssdlite is not None  # or ``feature_spec`` had refused it
        return [module for module, _ in entry.ssdlite]
    return [levels[stride] for stride in (4, 8, 16, 32)]


def _paths_up_to(net: nn.Module, path: str) -> list[str]:
    """Return what runs before the module at ``path``, and that path: registration order is execution order."""
    before, parent = [], ""
    for part in path.split("."):
        names = list(net.get_submodule(parent)._modules)
        prefix = f"{parent}." if parent else ""
        before += [prefix + name for name in names[: names.index(part)]]
        parent = prefix + part
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
