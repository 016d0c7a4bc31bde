"""SSDLite on EfficientNet-B2, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="efficientnet_b2"))
