"""The networks: backbone, feature pyramid, region features, multiple-instance head, SOLOv2 branch."""
