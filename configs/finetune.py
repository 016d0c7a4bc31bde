"""Fine-grained transfer as the ReXNet paper measures it (section 5.4, Table 8), on any backbone.

    python tools/train.py configs/finetune.py --dataset food101 --backbone rexnet_x1.0
    python tools/sweep.py configs/finetune.py --dataset imagefolder --backbone timm:mobilenetv4_conv_small

Params in M and multiply-adds in B at 224x224 of the ImageNet classifier, top-1 in percent, as printed in Table 8:

                                  Food-101  Stanford Cars  Aircraft  Flowers-102
    ResNet50          25.6  4.1     87.0        92.6         89.4       97.7
    EfficientNet-B0    5.3  0.4     87.5        90.7         87.1       97.3
    ReXNet x1.0        4.8  0.4     88.4        91.5         89.5       97.8

Cost: 20 000 iterations of 256 images, 5 million images; a sweep of 7x7 is 50 times that.
"""

_base_ = [
    "./_base_/models/classifier.py",
    "./_base_/data/finegrained.py",
    "./_base_/schedules/finetune_20k.py",
    "./_base_/runtime.py",
]

template = "finetune"
