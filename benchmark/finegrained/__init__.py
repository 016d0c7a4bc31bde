"""Fine-grained transfer (paper, section 5.4 and Table 8): fine-tuning to tell apart what looks alike."""
