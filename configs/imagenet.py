"""ImageNet classification as the ReXNet paper trains it (section 5.1, Tables 4 and 5), from scratch, on any backbone.

    python tools/eval_imagenet.py configs/imagenet.py --backbone efficientnet_lite0 --pretrained imagenet
    torchrun --nproc_per_node 4 tools/train.py configs/imagenet.py --backbone rexnet_x1.0

The paper prints 77.9 % top-1 for ReXNet x1.0 with RandAugment (Table 4, marked *): configs/imagenet_randaug.py.
Augmentation is "the standard" one of Szegedy et al. 2015: random crops of 8 to 100 % of the area and flips. The paper
prints neither epochs nor momentum, warm-up, dropout or label smoothing; schedules/imagenet_400e.py and this file say
what is taken: no warm-up, dropout 0.2, no label smoothing.

Cost: 512 million images.
"""

_base_ = [
    "./_base_/models/classifier.py",
    "./_base_/data/imagenet.py",
    "./_base_/schedules/imagenet_400e.py",
    "./_base_/runtime.py",
]

template = "imagenet"
task = "imagenet"
num_classes = 1_000
label_smoothing = 0.0
erasing = 0.0  # probability that a part of a training image becomes noise

model = dict(backbone=dict(pretrained=None), num_classes=num_classes, label_smoothing=label_smoothing, erasing=erasing)
