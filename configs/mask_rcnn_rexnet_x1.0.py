"""Mask R-CNN + FPN on ReXNet x1.0, a row of Table 9."""

_base_ = "./mask_rcnn.py"

model = dict(backbone=dict(name="rexnet_x1.0"))
