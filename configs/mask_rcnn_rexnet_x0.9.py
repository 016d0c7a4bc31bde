"""Mask R-CNN + FPN on ReXNet x0.9, a row of Table 9."""

_base_ = "./mask_rcnn.py"

model = dict(backbone=dict(name="rexnet_x0.9"))
