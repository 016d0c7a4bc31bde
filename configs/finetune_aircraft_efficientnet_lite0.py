"""EfficientNet-Lite0 fine-tuned on Aircraft."""

_base_ = "./_base_/finetune_aircraft.py"

model = dict(backbone=dict(name="efficientnet_lite0"))
