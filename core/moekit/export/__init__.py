"""Trained kits as graphs of other runtimes: ONNX and OpenVINO."""
