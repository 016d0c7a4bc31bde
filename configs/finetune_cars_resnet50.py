"""ResNet50 fine-tuned on Stanford Cars, a row of Table 8."""

_base_ = "./_base_/data/finetune_cars.py"

model = dict(backbone=dict(name="resnet50"))
