"""EfficientNet-Lite0 fine-tuned on Stanford Cars."""

_base_ = "./_base_/finetune_cars.py"

model = dict(backbone=dict(name="efficientnet_lite0"))
