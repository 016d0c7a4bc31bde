"""MobileNetV3-Large fine-tuned on Flowers-102."""

_base_ = "./_base_/finetune_flowers102.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
