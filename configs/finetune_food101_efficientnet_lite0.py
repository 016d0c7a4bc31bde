"""EfficientNet-Lite0 fine-tuned on Food-101."""

_base_ = "./_base_/finetune_food101.py"

model = dict(backbone=dict(name="efficientnet_lite0"))
