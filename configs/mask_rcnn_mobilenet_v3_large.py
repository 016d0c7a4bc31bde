"""Mask R-CNN + FPN on MobileNetV3-Large."""

_base_ = "./_base_/mask_rcnn.py"

model = dict(backbone=dict(name="mobilenet_v3_large"))
