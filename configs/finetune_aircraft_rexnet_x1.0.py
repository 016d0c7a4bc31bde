"""ReXNet x1.0 fine-tuned on Aircraft, a row of Table 8."""

_base_ = "./_base_/data/finetune_aircraft.py"

model = dict(backbone=dict(name="rexnet_x1.0"))
