"""MobileNetV3-Large fine-tuned on Stanford Cars."""

_base_ = "./_base_/finetune_cars.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
