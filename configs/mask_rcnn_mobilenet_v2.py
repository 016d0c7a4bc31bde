"""Mask R-CNN + FPN on MobileNetV2."""

_base_ = "./_base_/mask_rcnn.py"

model = dict(backbone=dict(name="mobilenet_v2"))
