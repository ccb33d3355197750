"""Pipeline: what all pipelines have in common, as transformers' have it."""

from pathlib import Path
from typing import Any, ClassVar, Protocol

from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.pretrained_model import PretrainedModel
from gptneo_onnx.runtime.tokenizer import Tokenizer


class _HasModel(Protocol):
    @property
    def model(self) -> PretrainedModel: ...

    tokenizer: Tokenizer


class BasePipeline:
    """The base of all pipelines.

    Attributes:
        task: the name that pipeline() has for it.
        framework: the kind of arrays that model and tokenizer take and return.
    """

    task: ClassVar[str]
    framework = "np"

    def __repr__(self: _HasModel) -> str:
        """Show the class and the model."""
        return f"{type(self).__name__}(model={self.model!r})"

    @property
    def device(self: _HasModel) -> Device:
        """Where the model runs."""
        return self.model.device

    @property
    def dtype(self: _HasModel) -> str:
        """The type that the model calculates in."""
        return self.model.dtype

    @property
    def torch_dtype(self: _HasModel) -> str:
        """Another name of dtype."""
        return self.model.dtype

    def save_pretrained(self: _HasModel, save_directory: str | Path, **kwargs: Any) -> None:
        """Copy the export into a folder, with the pipeline's tokenizer."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory)

    def predict(self, inputs: Any) -> Any:
        """Call the pipeline, as scikit-learn's estimators are called."""
        return self(inputs)  # type: ignore[operator]

    def transform(self, inputs: Any) -> Any:
        """Call the pipeline, as scikit-learn's estimators are called."""
        return self(inputs)  # type: ignore[operator]
