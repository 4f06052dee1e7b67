"""Running an artifact: in onnxruntime, in TensorRT, on whatever GPU the machine has."""
