"""Mask R-CNN + FPN: Faster R-CNN's model with a mask head (paper, section 5.4 and Table 9)."""

_base_ = "./faster_rcnn.py"

task = "mask_rcnn"
num_classes = 80

model = dict(
    type="MaskRCNNFPN",
    roi_head=dict(
        mask_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            num_classes=num_classes,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True),
        ),
    ),
    # Mask R-CNN's own matching: an object that no proposal meets well is given its best one.
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=True), mask_size=28)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
)
