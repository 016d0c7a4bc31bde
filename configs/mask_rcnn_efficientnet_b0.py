"""Mask R-CNN + FPN on EfficientNet-B0, a row of Table 9."""

_base_ = "./mask_rcnn.py"

model = dict(backbone=dict(name="efficientnet_b0"))
