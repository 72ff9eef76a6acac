"""Networks recorded once and run without Python in between: by CUDA graphs, by ONNX Runtime."""
