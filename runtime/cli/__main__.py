"""python -m gptneo_onnx.runtime.cli: the command line without its script."""

import sys

from gptneo_onnx.runtime.cli.main import main

sys.exit(main())
