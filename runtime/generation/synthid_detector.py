"""Detects SynthID's watermark: transformers' detector and its Bayesian model, without training.

The model is a logistic regression for each key (Dathathri et al., Nature 2024,
doi:10.1038/s41586-024-08025-4). transformers-research-projects/synthid_text trains it, in PyTorch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.named_file import read_file
from gptneo_onnx.runtime.arrays import Floats
from gptneo_onnx.runtime.generation.processors.synthid import SynthIDTextWatermarkLogitsProcessor
from gptneo_onnx.runtime.generation.tensors import as_array
from gptneo_onnx.runtime.model_output import ModelOutput

_MAX_BYTES = 64 * 1024 * 1024
_BETA, _DELTA = (f"likelihood_model_watermarked.{name}" for name in ("beta", "delta"))


@dataclass
class BayesianDetectorConfig:
    """The config of a BayesianDetectorModel.

    Attributes:
        watermarking_depth: number of keys.
        base_rate: how many texts have a watermark, as a part of them.
        model_name: the model whose texts it was trained on.
        watermarking_config: the arguments of that model's watermark.
    """

    watermarking_depth: int | None = None
    base_rate: float = 0.5
    model_name: str | None = None
    watermarking_config: dict[str, Any] | None = None

    def set_detector_information(self, model_name: str, watermarking_config: Any) -> None:
        """Say what the detector was trained on."""
        self.model_name = model_name
        self.watermarking_config = watermarking_config


@dataclass(eq=False)
class BayesianWatermarkDetectorModelOutput(ModelOutput):
    """The output of a BayesianDetectorModel.

    Attributes:
        loss: always None: there is no training here.
        posterior_probabilities: float32 [batch].
    """

    loss: None = None
    posterior_probabilities: Floats | None = None


class BayesianDetectorModel:
    """The likelihood that a text has a watermark, by its bits.

    Args:
        config: its config.
        beta: float32 [keys].
        delta: float32 [keys, keys], of which what is below the diagonal counts.
        prior: how many texts have a watermark; by default the config's base_rate.
    """

    def __init__(
        self,
        config: BayesianDetectorConfig,
        beta: Floats,
        delta: Floats,
        prior: float | None = None,
    ) -> None:
        self.config = config
        self.beta = np.asarray(beta, np.float32).reshape(-1)
        self.delta = np.tril(np.asarray(delta, np.float32).reshape(len(self.beta), -1), -1)
        self.prior = np.float32(config.base_rate if prior is None else prior)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "BayesianDetectorModel":
        """Load a directory that transformers' class saved: config.json and model.safetensors.

        Raises:
            InputError: the directory is not there.
            ModelFileError: its files are missing, damaged or of another model.
        """
        folder = Path(directory)
        if not folder.is_dir():
            raise InputError(f"{folder} is not a directory; pass one that save_pretrained() wrote")
        settings = read_json_object(folder / "config.json")
        names = BayesianDetectorConfig.__dataclass_fields__
        config = BayesianDetectorConfig(**{k: v for k, v in settings.items() if k in names})
        weights = _read_floats(folder / "model.safetensors")
        if not {_BETA, _DELTA, "prior"} <= {*weights}:
            raise ModelFileError(f"{folder} has no Bayesian detector: {_BETA} is missing")
        return cls(config, weights[_BETA], weights[_DELTA], float(weights["prior"].item()))

    def __call__(
        self, g_values: Any, mask: Any, labels: Any = None, return_dict: bool = False
    ) -> Any:
        """Return (float32 [batch],): how likely each text has the watermark.

        Args:
            g_values: int [batch, ngrams, keys], the processor's compute_g_values().
            mask: bool [batch, ngrams], which of them count.
            labels: not allowed: training needs PyTorch.
            return_dict: whether to return a BayesianWatermarkDetectorModelOutput.

        Raises:
            InputError: there are labels, or bits of another number of keys.
        """
        if labels is not None:
            raise InputError("labels train, which needs PyTorch: use transformers' class")
        bits: Floats = np.asarray(as_array(g_values), np.float32)
        if bits.ndim != 3 or bits.shape[-1] != len(self.beta):
            raise InputError(
                f"g_values is of shape {list(bits.shape)}; [batch, ngrams, {len(self.beta)}], one "
                "for each key, is allowed"
            )
        posterior = self._posterior(bits, np.asarray(as_array(mask), np.float32))
        output = BayesianWatermarkDetectorModelOutput(None, posterior)
        return output if return_dict else output.to_tuple()

    def _posterior(self, bits: Floats, mask: Floats) -> Floats:
        two_tokens = _sigmoid(bits @ self.delta.T + self.beta)  # [batch, ngrams, keys]
        marked = np.float32(0.5) * ((bits + np.float32(0.5)) * two_tokens + (1 - two_tokens))
        log_odds = np.log(np.maximum(marked, np.float32(1e-30))) - np.log(np.float32(0.5))
        prior = np.clip(self.prior, np.float32(1e-5), np.float32(1 - 1e-5))
        surprise = (log_odds * mask[..., None]).sum((1, 2)) + np.log(prior) - np.log(1 - prior)
        return _sigmoid(surprise)


class SynthIDTextWatermarkDetector:
    """Tells texts with SynthID's watermark from others.

    Args:
        detector_module: a BayesianDetectorModel; or transformers' one, for ids in tensors.
        logits_processor: a processor with the arguments of the watermark.
        tokenizer: its `eos_token_id` is read: what follows an end token does not count.
    """

    def __init__(
        self,
        detector_module: Any,
        logits_processor: SynthIDTextWatermarkLogitsProcessor,
        tokenizer: Any,
    ) -> None:
        self.detector_module = detector_module
        self.logits_processor = logits_processor
        self.tokenizer = tokenizer

    def __call__(self, tokenized_outputs: Any) -> Any:
        """Return what the module says of texts, int [batch, length]: (float32 [batch],)."""
        processor = self.logits_processor
        is_text = processor.compute_eos_token_mask(tokenized_outputs, self.tokenizer.eos_token_id)
        is_new = processor.compute_context_repetition_mask(tokenized_outputs)
        mask = is_new * is_text[:, processor.ngram_len - 1 :]
        return self.detector_module(processor.compute_g_values(tokenized_outputs), mask)


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def _read_floats(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the float32 tensors of a safetensors file: 8 bytes of length, JSON, then the numbers."""
    try:
        content = read_file(path, _MAX_BYTES)
        start = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:start])
        return {
            name: np.frombuffer(content[start:][slice(*entry["data_offsets"])], "<f4").reshape(
                entry["shape"]
            )
            for name, entry in entries.items()
            if name != "__metadata__" and entry["dtype"] == "F32"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} cannot be read as safetensors: {error}") from error
