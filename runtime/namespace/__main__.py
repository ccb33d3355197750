"""python -m gptneo_onnx: the command line without the gptneo-onnx script."""

import sys

from gptneo_onnx.runtime.cli.main import main

sys.exit(main())
