"""GPT-Neo as ONNX: every public name of gptneo_onnx.runtime and gptneo_onnx.export.

    from gptneo_onnx import AutoTokenizer, GPTNeoForCausalLM, export_model, pipeline

This is the package gptneo_onnx itself; it lies in this folder because the folders at the top of the
repository are its parts. A name is imported when it is first used.
"""

from importlib import import_module

# Not typing's, whose import takes longer than this file: Ctrl-C cannot be told in a line before
# the program has begun. Type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from gptneo_onnx.export import *  # noqa: F403
    from gptneo_onnx.runtime import *  # noqa: F403
    from gptneo_onnx.runtime import (
        GPTNeoForCausalLM,
        GPTNeoForQuestionAnswering,
        GPTNeoForSequenceClassification,
        GPTNeoForTokenClassification,
        GPTNeoModel,
        Tokenizer,
    )

    AutoModel = GPTNeoModel
    AutoModelForCausalLM = GPTNeoForCausalLM
    AutoModelForQuestionAnswering = GPTNeoForQuestionAnswering
    AutoModelForSequenceClassification = GPTNeoForSequenceClassification
    AutoModelForTokenClassification = GPTNeoForTokenClassification
    AutoTokenizer = Tokenizer
    __version__: str

# Names of transformers, by which its users look: the class of runtime that does the same.
_ALIASES = {
    "AutoModel": "GPTNeoModel",
    "AutoModelForCausalLM": "GPTNeoForCausalLM",
    "AutoModelForQuestionAnswering": "GPTNeoForQuestionAnswering",
    "AutoModelForSequenceClassification": "GPTNeoForSequenceClassification",
    "AutoModelForTokenClassification": "GPTNeoForTokenClassification",
    "AutoTokenizer": "Tokenizer",
}
_EXPORT = ("check_export", "export_model", "set_tokenizer")

if not TYPE_CHECKING:  # type checkers see the imports above, and refuse names that are not there

    def __getattr__(name: str) -> object:
        """Import a public name on first use; __version__ is the installed distribution's."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("gptneo-onnx")
        elif name == "__all__":
            value = __dir__()
        elif name in _EXPORT:
            value = getattr(import_module("gptneo_onnx.export"), name)
        elif name in __dir__():
            value = getattr(import_module("gptneo_onnx.runtime"), _ALIASES.get(name, name))
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        names = import_module("gptneo_onnx.runtime").__all__
        return sorted(["__version__", *names, *_ALIASES, *_EXPORT])
