"""MobileNetV3-Large fine-tuned on Food-101."""

_base_ = "./_base_/finetune_food101.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
