"""SSDLite on EfficientNet-B0, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="efficientnet_b0"))
