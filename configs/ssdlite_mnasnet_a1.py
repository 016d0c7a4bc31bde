"""SSDLite on MnasNet-A1, a row of Table 6."""

_base_ = "./ssdlite.py"

model = dict(backbone=dict(name="mnasnet_a1"))
