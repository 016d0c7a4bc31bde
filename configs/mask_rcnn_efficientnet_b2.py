"""Mask R-CNN + FPN on EfficientNet-B2."""

_base_ = "./_base_/mask_rcnn.py"

model = dict(backbone=dict(name="efficientnet_b2"))
