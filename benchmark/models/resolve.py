"""What a model takes from its backbone where its config does not say: channels, mean and std."""

from collections.abc import Mapping
from typing import Any

from backbones.catalogue import preprocessing
from backbones.features import feature_spec


def resolve_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's config with all that follows from its backbone; what it says itself stays.

    That is ``in_channels`` of the neck, and of a head on SSDLite's six maps, and ``mean`` and ``std`` of the
    preprocessor, in 0..255 RGB.

    Args:
        model: of a detector or a classifier, with ``backbone`` and perhaps ``neck``, ``bbox_head`` and
            ``data_preprocessor``; left as it is.

    Raises:
        UserError: unknown backbone or taps.
    """
    backbone, resolved = model["backbone"], dict(model)
    if model.get("neck"):
        spec = feature_spec(backbone["name"], backbone.get("taps", "pyramid"))
        neck = resolved["neck"] = {"in_channels": list(spec.channels), **model["neck"]}
        if "extra_channels" in neck:
            in_channels = [*neck["in_channels"], *neck["extra_channels"]]
            resolved["bbox_head"] = {"in_channels": in_channels, **model["bbox_head"]}
    if model.get("data_preprocessor"):
        record = preprocessing(backbone["name"])
        statistics = {key: [255 * value for value in getattr(record, key)] for key in ("mean", "std")}
        resolved["data_preprocessor"] = {**statistics, **model["data_preprocessor"]}
    return resolved


class ResolvedModel:
    """Mixed into a detector of MMDetection's, so that its config need not repeat what follows from the backbone."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**resolve_model(parts))
