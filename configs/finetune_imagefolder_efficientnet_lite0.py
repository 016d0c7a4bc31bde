"""EfficientNet-Lite0 fine-tuned on your own pictures."""

_base_ = "./_base_/finetune_imagefolder.py"

model = dict(backbone=dict(name="efficientnet_lite0"))
