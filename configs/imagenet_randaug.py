"""ImageNet as configs/imagenet.py, with the augmentation and regularisation of the rows that Table 4 marks with *.

RandAugment is the paper's word (section 5.1); its magnitude, random erasing and dropout are those of the command line
in the README of its authors' repository, github.com/clovaai/rexnet: rand-m9-mstd0.5, 0.2 by pixels, and 0.2. Label
smoothing of 0.1 is what timm's script does where the command line does not say otherwise.
"""

_base_ = "./imagenet.py"

template = "imagenet_randaug"
label_smoothing = 0.1
erasing = 0.2
image_size = None  # px, as in imagenet.py
crop_area = (0.08, 1.0)
policy = "rand-m9-mstd0.5"

model = dict(label_smoothing=label_smoothing, erasing=erasing)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="DecodeRandomCrop", size=image_size, area=crop_area, interpolation=None),
            dict(type="TimmRandAugment", policy=policy, size=image_size, mean=None),
            dict(type="PackClassInputs"),
        ]
    )
)
