"""SSDLite on EfficientNet-Lite0."""

_base_ = "./_base_/ssdlite.py"

model = dict(backbone=dict(name="efficientnet_lite0"))
