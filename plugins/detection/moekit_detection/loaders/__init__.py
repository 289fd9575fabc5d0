"""Loaders of pictures with boxes."""

from __future__ import annotations

from moekit_detection.loaders.coco import COCO
from moekit_detection.loaders.voc import VOC
from moekit_detection.loaders.yolo import YOLO

LOADERS = (COCO, YOLO, VOC)

__all__ = ["LOADERS"]
