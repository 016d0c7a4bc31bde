"""EfficientNet-Lite0 fine-tuned on Flowers-102."""

_base_ = "./_base_/finetune_flowers102.py"

model = dict(backbone=dict(name="efficientnet_lite0"))
