import copy
import itertools
from collections.abc import Iterable

import pytest
import timm
import torch
from helpers import sampled
from mmdet.registry import MODELS
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.catalogue import build_network, find_entry, list_backbones
from backbones.errors import UserError
from backbones.features import Backbone, feature_spec

pytestmark = pytest.mark.slow

TAPS = ("pyramid", "ssdlite")
# a family each
REPRESENTATIVES = (
    "rexnet_x0.9",
    "efficientnet_lite0",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mnasnet_a1",
    "fbnet_c",
    "mixnet_m",
)


def images(count: int = 1, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def meta_backbone(name: str, taps: str, **kwargs) -> Backbone:
    with torch.device("meta"):
        return Backbone(name, taps, **kwargs)


def run(net: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return tuple(net(x))


def random_projection(maps: Iterable[Tensor]) -> Tensor:
    """Scalar with a gradient on every value; a plain sum has none through a BN in training mode."""
    generator = torch.Generator().manual_seed(0)
    return sum((level * torch.randn(level.shape, generator=generator)).sum() for level in maps)


def parameters_behind(maps: Iterable[Tensor]) -> list[nn.Parameter]:
    """Return the parameters that the maps depend on, as autograd has recorded it."""
    nodes = {level.grad_fn for level in maps}
    waiting = list(nodes)
    while waiting:
        before = {node for node, _ in waiting.pop().next_functions if node} - nodes
        nodes |= before
        waiting += before
    return [node.variable for node in nodes if hasattr(node, "variable")]


def feature_info(net: nn.Module) -> list[dict]:
    return net.feature_info if isinstance(net.feature_info, list) else net.feature_info.get_dicts()


def assert_equal(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    assert len(ours) == len(theirs) > 0
    for our_map, their_map in zip(ours, theirs, strict=True):
        assert our_map.std() > 0
        torch.testing.assert_close(our_map, their_map, atol=1e-5, rtol=1e-4)


def norms(net: nn.Module) -> list[_BatchNorm]:
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


def changed_in_a_step(backbone: Backbone) -> set[str]:
    """Return the parameters and buffers that a step of SGD with weight decay changes."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            if not parameter.any():  # a bias before a BN has no gradient but by rounding, and of 0 nothing decays
                parameter.fill_(0.01)
    before = {key: value.clone() for key, value in backbone.net.state_dict().items()}
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1, weight_decay=0.1)
    random_projection(backbone(images(2))).backward()
    optimizer.step()
    return {key for key, value in backbone.net.state_dict().items() if not torch.equal(value, before[key])}


# --- what a backbone gives ---


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("name", sampled(name for name in list_backbones() if find_entry(name).channels))
def test_every_entry_gives_what_it_declares_and_uses_all_parameters(name, taps):
    backbone, spec = meta_backbone(name, taps), feature_spec(name, taps)
    assert (backbone.channels, backbone.strides) == (spec.channels, spec.strides)
    assert spec.strides == {"pyramid": (4, 8, 16, 32), "ssdlite": (16, 32)}[taps]
    maps = backbone(torch.zeros(2, 3, 64, 96, device="meta"))
    expected = [(2, chs, 64 // stride, 96 // stride) for chs, stride in zip(spec.channels, spec.strides, strict=True)]
    assert [tuple(level.shape) for level in maps] == expected
    assert {id(parameter) for parameter in backbone.parameters()} == {id(p) for p in parameters_behind(maps)}


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("name", [*REPRESENTATIVES, "resnet50"])
def test_real_maps_and_gradients(name, taps, randomise):
    backbone = randomise(Backbone(name, taps))
    maps = backbone(images(2))
    expected = [(2, c, 64 // s, 64 // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(level.shape) for level in maps] == expected
    random_projection(maps).backward()
    gradients = [parameter.grad for parameter in backbone.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
    # A squeeze-and-excitation of a few hidden channels may be dead at random weights.
    assert sum(bool(gradient.any()) for gradient in gradients) > 0.9 * len(gradients)


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_ssdlite_taps_the_expansion_before_the_depthwise_convolution(name, randomise):
    full = randomise(build_network(name)).eval()
    backbone = Backbone(name, "ssdlite").eval()
    backbone.net.load_state_dict(full.state_dict(), strict=False)
    inputs, outputs = {}, {}
    for path, module in full.named_modules():
        if path.endswith("conv_dw"):
            module.register_forward_pre_hook(lambda _, args, path=path: inputs.update({path: args[0].clone()}))
            module.register_forward_hook(lambda _, args, output, path=path: outputs.update({path: output}))
    x = images(side=96)
    with torch.no_grad():
        last = full.forward_features(x)
    first_at_stride_32 = next(path for path, output in outputs.items() if output.shape[-1] == 96 // 32)
    assert inputs[first_at_stride_32].shape[-1] == 96 // 16
    assert_equal(run(backbone, x), (inputs[first_at_stride_32], last))


@pytest.mark.parametrize(
    "name", ["rexnet_x1.0", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mixnet_m", "resnet50"]
)
def test_pyramid_is_timms_features_only(name, randomise):
    backbone = randomise(Backbone(name, "pyramid")).eval()
    theirs = timm.create_model(find_entry(name).timm, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    tensors = backbone.net.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), tensors, strict=True)))
    assert_equal(run(backbone, images()), run(theirs, images()))


def test_unknown_names_and_taps_are_user_errors():
    with pytest.raises(UserError, match=r"Unknown backbone 'rexnet_1\.0'\. Did you mean 'rexnet_x1\.0'\?"):
        Backbone("rexnet_1.0")
    with pytest.raises(UserError, match=r"Unknown taps 'fpn'.*'pyramid' or 'ssdlite'"):
        feature_spec("resnet50", "fpn")
    with pytest.raises(UserError, match=r"frozen_stages=5 of backbone resnet50: expected -1 \(none\) to 4 \(all\)"):
        Backbone("resnet50", frozen_stages=5)


def test_mmdetection_builds_it_from_a_config():
    with torch.device("meta"):
        backbone = MODELS.build(dict(type="Backbone", name="mobilenet_v2", taps="ssdlite", norm_eval=True))
    assert isinstance(backbone, Backbone)
    assert backbone.channels == (576, 1280)


# --- frozen_stages, norm_eval, norm_requires_grad, init_cfg ---


def keys_before_level(name: str, stride: int) -> set[str]:
    """Return the parameters that the map at a stride depends on."""
    with torch.device("meta"):
        net = build_network(name)
    path = next(level["module"] for level in feature_info(net) if level["reduction"] == stride)
    maps = []
    net.get_submodule(path).register_forward_hook(lambda _, args, output: maps.append(output))
    net.forward_features(torch.zeros(2, 3, 64, 64, device="meta"))
    used = {id(parameter) for parameter in parameters_behind(maps)}
    return {key for key, parameter in net.named_parameters() if id(parameter) in used}


@pytest.mark.parametrize(
    ("name", "frozen_stages"),
    [*itertools.product(("rexnet_x0.9", "mobilenet_v3_small"), range(-1, 5)), ("mobilenet_v2", 4), ("resnet50", 0)],
)
def test_frozen_stages_stand_still_and_the_others_move(name, frozen_stages, randomise):
    backbone = randomise(Backbone(name, "ssdlite", frozen_stages=frozen_stages))
    parameters = dict(backbone.net.named_parameters())
    if frozen_stages == 4:
        frozen = set(parameters)
        with pytest.raises(RuntimeError, match="does not require grad"):
            changed_in_a_step(backbone)
        changed = set()
    else:
        frozen = keys_before_level(name, 2 ** (frozen_stages + 1)) if frozen_stages >= 0 else set()
        changed = changed_in_a_step(backbone)
    assert {key for key, parameter in parameters.items() if not parameter.requires_grad} == frozen
    for path, module in backbone.net.named_modules():
        if isinstance(module, _BatchNorm):
            assert module.training == (f"{path}.weight" not in frozen), path
            moves = {f"{path}.running_mean", f"{path}.running_var", f"{path}.num_batches_tracked"} & changed
            assert len(moves) == (0 if f"{path}.weight" in frozen else 3), path
    assert changed & set(parameters) == set(parameters) - frozen


def test_frozen_stages_need_layers_to_freeze():
    with pytest.raises(UserError, match=r"frozen_stages=0 of backbone timm:convnext_atto.*no layers before stride 4"):
        Backbone("timm:convnext_atto", frozen_stages=0)
    assert not next(Backbone("timm:convnext_atto", frozen_stages=1).parameters()).requires_grad


def test_norm_eval_keeps_statistics_and_trains_weights():
    backbone = Backbone("mobilenet_v3_small", "ssdlite", norm_eval=True)
    assert not any(norm.training for norm in norms(backbone))
    assert changed_in_a_step(backbone) == {key for key, _ in backbone.net.named_parameters()}


def test_norms_without_gradients_keep_their_weights_and_move_their_statistics():
    backbone = Backbone("mobilenet_v3_small", "ssdlite", norm_requires_grad=False)
    affine = {id(parameter) for norm in norms(backbone) for parameter in norm.parameters()}
    changed = changed_in_a_step(backbone)
    assert {key for key, p in backbone.net.named_parameters() if id(p) not in affine} == changed & {
        key for key, _ in backbone.net.named_parameters()
    }
    assert {key for key, _ in backbone.net.named_buffers()} <= changed


@pytest.mark.parametrize("norm_eval", [False, True])
def test_train_and_eval_round_trips(norm_eval):
    backbone = meta_backbone("mobilenet_v3_small", "pyramid", frozen_stages=1, norm_eval=norm_eval)
    training = {path: module.training for path, module in backbone.named_modules()}
    assert {True, False} == set(training.values())
    assert not any(module.training for module in backbone.eval().modules())
    assert {path: module.training for path, module in backbone.train().named_modules()} == training


def test_init_cfg_initialises():
    backbone = Backbone("mobilenet_v3_small", init_cfg=dict(type="Constant", layer="Conv2d", val=0.5))
    backbone.init_weights()
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert all((conv.weight == 0.5).all() for conv in convolutions)


def test_init_cfg_pretrained_loads(tmp_path, randomise):
    source = randomise(Backbone("mobilenet_v3_small"))
    torch.save(source.net.state_dict(), tmp_path / "weights.pth")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "weights.pth"))
    backbone = Backbone("mobilenet_v3_small", init_cfg=init_cfg)
    backbone.init_weights()
    assert_equal(run(backbone.eval(), images()), run(source.eval(), images()))
    with pytest.raises(UserError, match=r"both pretrained='imagenet' and init_cfg.*give one"):
        Backbone("mobilenet_v3_small", pretrained="imagenet", init_cfg=init_cfg)


# --- copies and conversions ---


def test_deepcopy_is_independent(randomise):
    original = randomise(Backbone("mobilenet_v3_small", "ssdlite", frozen_stages=1)).eval()
    expected = run(original, images())
    duplicate = copy.deepcopy(original)
    assert_equal(run(duplicate, images()), expected)
    randomise(duplicate, seed=1)
    assert not torch.allclose(run(duplicate, images())[0], expected[0], atol=1e-2)
    assert_equal(run(original, images()), expected)
    frozen = [norm.training for norm in norms(duplicate.train())]
    assert True in frozen
    assert False in frozen
    assert not any(norm.training for norm in norms(original))


@pytest.mark.parametrize("name", ["rexnet_x0.9", "mobilenet_v3_small"])
def test_channels_last_gives_the_same_maps(name, randomise):
    backbone = randomise(Backbone(name, "pyramid")).eval()
    expected = run(backbone, images())
    backbone.to(memory_format=torch.channels_last)
    assert_equal(run(backbone, images().to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("name", ["rexnet_x0.9", "mobilenet_v2", "mobilenet_v3_small", "timm:densenet121"])
def test_timms_conversion_to_sync_bn_keeps_maps_and_frozen_stages(name, taps, randomise):
    backbone = randomise(Backbone(name, taps, frozen_stages=1))
    expected = run(backbone.eval(), images())
    training = [norm.training for norm in norms(backbone.train())]
    converted = convert_sync_batchnorm(copy.deepcopy(backbone))
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms(converted))
    assert_equal(run(converted.eval(), images()), expected)
    assert [norm.training for norm in norms(converted.train())] == training
    assert {True, False} == set(training)


def test_torchs_conversion_to_sync_bn_loses_timms_activations(randomise):
    """Why training converts with timm's function."""
    net = randomise(build_network("mobilenet_v2")).eval()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))
    assert not torch.allclose(run(converted, images())[0], run(net, images())[0], atol=1e-2)


# --- timm:<model> ---


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("model", ["resnet18", "convnext_atto", "regnetx_002"])
def test_any_pyramid_of_timm_serves(model, taps):
    backbone = Backbone(f"timm:{model}", taps).eval()
    theirs = timm.create_model(model, features_only=True).eval()
    tensors = backbone.net.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), tensors, strict=True)))
    maps = run(backbone, images())
    assert tuple(level.shape[1] for level in maps) == backbone.channels
    assert_equal(maps, run(theirs, images())[-len(maps) :])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet_18", r"has no model 'resnet_18'\. Did you mean 'resnet18'\?"),
        ("resnet18.nonsense", "Invalid pretrained tag"),
        ("vit_tiny_patch16_224", "no feature map at stride 4"),
        ("hrnet_w18_small", "cannot feed a detector"),  # its record names modules that only a subclass has
        ("twins_svt_small", "cannot feed a detector"),  # likewise
        ("efficientformerv2_s0", "cannot feed a detector"),  # it takes 224x224 images only
        ("swin_tiny_patch4_window7_224", "cannot feed a detector"),  # likewise
        ("mambaout_femto", "cannot feed a detector"),  # its maps are NHWC
        ("selecsls42", "cannot feed a detector"),  # its stages pass lists
        ("inception_v3", "cannot feed a detector"),  # without padding, so not at strides 4..32
    ],
)
def test_models_that_cannot_serve_are_user_errors(model, message):
    with pytest.raises(UserError, match=message) as raised:
        Backbone(f"timm:{model}")
    assert len(str(raised.value).splitlines()) == 1
