"""ReXNet x1.0 fine-tuned on Flowers-102, a row of Table 8."""

_base_ = "./_base_/data/finetune_flowers102.py"

model = dict(backbone=dict(name="rexnet_x1.0"))
