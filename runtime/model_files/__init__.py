"""A model directory, checked before anything runs.

- directory.py: opens a directory, and says which kind of model it holds
- foreign.py: which graphs another exporter's directory has
- fused_check.py, portable_check.py: the checks of our own graphs, and of anyone's
- portable_interface.py: which variant of the portable graph a file is
- graph_reader.py, onnx_schema.py, protobuf.py: a strict reader of ONNX files
- stored_size.py: how many bytes on disk a model is
- listed_files.py, hashes.py, paths.py: files against the manifest, and where they may be
- held_file.py: files that stay open from the first check to the last
- remembered.py: what was found out about files, kept in the cache folder
"""
