"""Laid over any ImageNet config by --demo: generated class folders in place of ImageNet's; the rest as finetune.py."""

_base_ = "./finetune.py"

train_dataloader = dict(dataset=dict(split="trainval"))
val_dataloader = dict(dataset=dict(split="test"))
