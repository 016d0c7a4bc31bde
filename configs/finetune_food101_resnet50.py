"""ResNet50 fine-tuned on Food-101, a row of Table 8."""

_base_ = "./_base_/data/finetune_food101.py"

model = dict(backbone=dict(name="resnet50"))
