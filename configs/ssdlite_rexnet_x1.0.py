"""SSDLite on ReXNet x1.0, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="rexnet_x1.0"))
