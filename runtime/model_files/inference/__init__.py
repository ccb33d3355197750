"""The sizes of every result of a graph, worked out before ONNX Runtime sees the graph.

sizes.py has the numbers that sizes are made of, values.py what is known of a result, rules_*.py a
rule for each operator, and walk.py goes through the operators with them. limits.py says what a
GPT-Neo needs.
"""
