"""MobileNetV3-Large fine-tuned on Aircraft."""

_base_ = "./_base_/finetune_aircraft.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
