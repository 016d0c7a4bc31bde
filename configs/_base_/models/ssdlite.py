"""SSDLite on any backbone of the catalogue (paper, section 5.2 and Table 6).

The backbone is tapped twice: at the expansion of its first stride-32 block (stride 16) and at its last 1x1 convolution
(stride 32). Four extra layers follow. What depends on the backbone (channels, mean and std) the model takes from the
catalogue.
"""

task = "ssdlite"
num_classes = 80
positive_iou = 0.5
nms_iou = 0.5
score_threshold = 0.02

model = dict(
    type="SSDLite",
    data_preprocessor=dict(type="DetectorPreprocessor", bgr_to_rgb=True),
    backbone=dict(type="Backbone", taps="ssdlite", pretrained="imagenet"),
    neck=dict(type="SSDLiteNeck", extra_channels=(512, 256, 256, 128)),
    bbox_head=dict(
        type="SSDLiteHead",
        num_classes=num_classes,
        anchor_generator=dict(type="SSDLiteAnchorGenerator"),  # its strides and sizes follow from the input's
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=(0.1, 0.1, 0.2, 0.2)),
        # The other choice: dict(type="SigmoidFocalClassificationLoss", alpha=0.25, gamma=2.0)
        loss_cls=dict(type="MultiBoxClassificationLoss", neg_pos_ratio=3),
        smoothl1_beta=1.0,
    ),
    train_cfg=dict(
        assigner=dict(
            type="BatchMaxIoUAssigner",
            pos_iou_thr=positive_iou,
            neg_iou_thr=positive_iou,
            min_pos_iou=0.0,
            ignore_iof_thr=-1,
            gt_max_assign_all=False,
        ),
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=score_threshold,
        nms=dict(type="nms", iou_threshold=nms_iou),
        max_per_img=100,
    ),
)
