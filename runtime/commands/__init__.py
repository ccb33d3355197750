"""What `gptneo-onnx` does, a file for each command; runtime/cli.py reads the command line."""
