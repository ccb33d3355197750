"""The command line: a file for each command, with its options and its run.

A file's add_command(commands) adds a parser to argparse's sub-parsers, with the function to run as
its default `run`. What loads ONNX Runtime is imported inside functions, because every file is
imported even for --help.
"""
