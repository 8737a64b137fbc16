"""What executes networks: torch with its sparse kernels, ONNX programs in onnxruntime."""
