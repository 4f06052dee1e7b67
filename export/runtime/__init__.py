"""Running an artifact: onnxruntime, TensorRT, the GPU that is there."""
