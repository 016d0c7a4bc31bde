"""MobileNetV3-Large fine-tuned on your own pictures."""

_base_ = "./_base_/finetune_imagefolder.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
