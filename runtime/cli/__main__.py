"""python -m gptneo_onnx.runtime.cli.main: the command line without its script."""

import sys

from gptneo_onnx.runtime.cli.main.main import main

sys.exit(main())
