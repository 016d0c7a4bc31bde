"""Mask R-CNN + FPN on ReXNet x1.3."""

_base_ = "./_base_/mask_rcnn.py"

model = dict(backbone=dict(name="rexnet_x1.3"))
