"""Names of commands and options in other programs, and what they are called here."""

from collections.abc import Collection

_FETCH = ("generate or export with the hub id",)
_CACHE = ("cache list",)
_PRUNE = ("cache prune", "prune")
_COUNT = ("--max-new-tokens",)
_PRECISION = ("--precision",)

# A user of transformers, Optimum, vLLM, llm, ollama, llama.cpp, git or uv may type these. Of
# several names, the first one counts whose first word the parser knows.
_NAMES_HERE = {
    "api": ("serve",),
    "ask": ("generate",),
    "chat": ("generate",),
    "clean": _PRUNE,
    "clear": _PRUNE,
    "complete": ("generate",),
    "convert": ("export",),
    "delete": _PRUNE,
    "dir": ("cache path", "path"),
    "download": _FETCH,
    "interactive": ("generate",),
    "list": _CACHE,
    "ls": ("cache list", "list"),
    "models": _CACHE,
    "onnx": ("export",),
    "prompt": ("generate",),
    "pull": _FETCH,
    "quantize": ("export --precision",),
    "remove": _PRUNE,
    "rm": _PRUNE,
    "run": ("generate",),
    "server": ("serve",),
    "show": ("info",),
    "version": ("--version",),
    "--allowed-origins": ("--cors-origin",),
    "--bind": ("--host",),
    "--dtype": _PRECISION,
    "--file": ("--prompts",),
    "--greedy": ("--no-do-sample",),
    "--listen": ("--host",),
    "--n-predict": _COUNT,
    "--num-predict": _COUNT,
    "--num-tokens": _COUNT,
    "--quantization": _PRECISION,
    "--quantize": _PRECISION,
    "--torch-dtype": _PRECISION,
    "-N": _COUNT,
    "-f": ("--prompts",),
    "-t": ("--threads",),
}


def name_here(word: str, known: Collection[str]) -> str | None:
    """Return what a word of another program is called here, if a parser knows that name."""
    dashed = word.replace("_", "-") if word.startswith("--") else word
    names = _NAMES_HERE.get(dashed, ())
    return next((name for name in names if name.split()[0] in known), None)
