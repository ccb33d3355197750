"""Runs exported graphs on the CPU, to check them.

- smoke_run.py: runs the first step of a graph that was just written; part of every export
- verify.py: compares a graph with transformers over hundreds of tokens; for verify=True
- stepper.py: GraphStepper, which verify.py steps a whole graph with, caches in and out as arrays
- subgraph.py: Subgraph, a few nodes with a session, which smoke_run.py and calibration run in turn
- onnx_runtime.py: imports ONNX Runtime, or says which extra to install
"""
