"""Labels from annotation tools: exports of CVAT and Label Studio, and COCO files."""
