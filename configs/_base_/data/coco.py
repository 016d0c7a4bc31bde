"""COCO 2017 (Lin et al., Microsoft COCO, ECCV 2014): 118 287 training and 5 000 validation images, 80 classes.

The order of the classes is the annotation file's; both are compared before a training begins. ``test_dataloader`` and
its like are for MMDetection's own clients, which look for its own reader of pictures; the tools here do not use them.
"""

dataset = "coco"
data_root = "data/coco"
dataset_name = "coco2017"
val_images = 5000  # of the official split; a result over another number is marked as partial
classes = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)

train_dataloader = dict(
    persistent_workers=True,
    sampler=dict(type="SampleStream"),
    dataset=dict(
        type="CocoDetection",
        data_root=data_root,
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
        metainfo=dict(classes=classes),
    ),
)
val_dataloader = dict(
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="CocoDetection",
        data_root=data_root,
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img="val2017/"),
        metainfo=dict(classes=classes),
        test_mode=True,
    ),
)
val_evaluator = dict(type="CocoAP", ann_file=f"{data_root}/annotations/instances_val2017.json", iou_types=("bbox",))
val_cfg = dict(type="MainBuffersValLoop")

test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict(type="TestLoop")
