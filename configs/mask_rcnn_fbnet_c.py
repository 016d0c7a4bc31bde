"""Mask R-CNN + FPN on FBNet-C."""

_base_ = "./_base_/mask_rcnn.py"

model = dict(backbone=dict(name="fbnet_c"))
