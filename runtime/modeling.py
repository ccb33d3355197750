"""GPTNeoForCausalLM: an exported model with the interface of transformers' class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import ArrayLike

from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.engine.call_arguments import (
    causal_loss,
    check_call_arguments,
    kept_columns,
)
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.forward import checked_layers, forward
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import model_generation_config
from gptneo_onnx.runtime.generation_mixin import GenerationMixin
from gptneo_onnx.runtime.load_arguments import LoadArguments, Loading
from gptneo_onnx.runtime.model_output import CausalLMOutput
from gptneo_onnx.runtime.on_demand_export import exported_directory
from gptneo_onnx.runtime.pretrained_model import PretrainedModel


class GPTNeoForCausalLM(GenerationMixin, PretrainedModel):
    """transformers.GPTNeoForCausalLM on ONNX Runtime.

    Threads may call one model: a call waits until those before it have ended.

    Attributes:
        engine: steps the model.
        config: the model's dimensions.
        generation_config: the model's own defaults for generate().
    """

    def __init__(self, engine: Engine, generation_config: GenerationConfig | None = None) -> None:
        self.engine = Engine.of(engine)
        self.config = engine.config
        self.generation_config = generation_config or GenerationConfig()

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        device: str | int | None = "auto",
        slots: int = 1,
        num_threads: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
        file_name: str | None = None,
        mmap: bool = False,
        precision: str | None = None,
        spin: bool | None = None,
        batch_invariant: bool = False,
        trust_graph: bool = False,
        **kwargs: Unpack[LoadArguments],
    ) -> "GPTNeoForCausalLM":
        """Load an exported directory, or a checkpoint, which is exported on first use.

        Args:
            directory: made by gptneo-onnx, by optimum-cli, or for transformers.js; a checkpoint's;
                or a hub id. A checkpoint's export is kept in the cache folder.
            device: auto (CUDA if it can be had, else the CPU), cpu, cuda or cuda:N; or a GPU's
                number.
            slots: sequences to make room for at once; a larger batch makes more when it comes.
            num_threads: threads of one operator; None as GPTNEO_ONNX_THREADS says, or one per core.
            provider_options: options of ONNX Runtime's execution provider.
            file_name: which graph to run, if not model.onnx, as in optimum.onnxruntime.
            mmap: whether float32 weights stay in the mapped file: loads at once; steps of several
                tokens take two to three times as long; last bits differ. docs/speed.md.
            precision: which precision to run of a directory with several; by default the first.
                Of a checkpoint: which to export, fp32 by default.
            spin: whether threads spin while they wait; None as GPTNEO_ONNX_SPIN says.
            batch_invariant: whether bits are the same in any batch (docs/precision.md).
            trust_graph: whether to load another exporter's graph at once. By default it is loaded
                in a separate process first, once: ONNX Runtime may not survive it.
            kwargs: transformers' and Optimum's arguments: see LoadArguments.
                Which files of a checkpoint are meant (revision, export, ...): see SourceArguments.

        Raises:
            InputError: an argument is out of range, or there is no such model.
            ModelFileError: the model is damaged, was changed, or is of a kind that is not run here.
            ExportError, MissingDependencyError: a checkpoint cannot be exported or fetched.
            DeviceError: the device was asked for by name and cannot be used.
        """
        heads, loading = (Head.CAUSAL_LM,), Loading.read(device, provider_options, kwargs)
        source = loading.source
        path, precision = exported_directory(directory, precision, heads, file_name, **source)
        engine = Engine.load(
            path,
            loading.device,
            slots,
            num_threads,
            loading.provider_options,
            file_name,
            heads,
            mmap,
            precision,
            spin,
            batch_invariant,
            trust_graph,
        )
        loading.check(engine)
        return cls(engine, model_generation_config(engine.path))

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Copy the export as PretrainedModel does, with generation_config as it is now."""
        changed = self.generation_config != model_generation_config(self.engine.path)
        if changed:
            self.generation_config.validate(strict=True)
        super().save_pretrained(save_directory, **kwargs)
        if changed:
            self.generation_config.save_pretrained(save_directory)

    def _head_parameters(self) -> int:
        config = self.config
        return 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size

    @property
    def prefill_chunk(self) -> int:
        """Tokens of a prompt that one step reads at most: the engine's."""
        return self.engine.prefill_chunk

    @prefill_chunk.setter
    def prefill_chunk(self, tokens: int) -> None:
        self.engine.prefill_chunk = tokens

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The layers whose hidden states the graph gives; see output_hidden_states."""
        return self.engine.hidden_layers

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        output_hidden_states: bool | Sequence[int] | None = None,
        labels: ArrayLike | None = None,
        logits_to_keep: int | ArrayLike = 0,
        **kwargs: Any,
    ) -> Any:
        """Return the logits after every token, and hidden states if they are asked for.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on either side.
            position_ids: int [batch, sequence]; by default the columns' numbers, padding included,
                as in transformers. generate() counts from each sequence's first token instead.
            output_hidden_states: True for all layers, as transformers numbers them: the embeddings,
                then after each block, the last one after the final normalization too. Or numbers
                of layers; negative ones count from the end. Exports give the layers that
                --hidden-states named.
            labels: int [batch, sequence], usually input_ids, -100 where they do not count: the
                output has the mean loss of each label by the logits before it.
            logits_to_keep: how many of the last columns get logits, 0 for all; or their numbers.
            kwargs: return_dict=False makes the result a tuple. Other arguments of transformers
                pass where they change nothing, such as use_cache=True or head_mask=None.

        Returns:
            A CausalLMOutput.

        Raises:
            InputError: ids are out of range, a sequence is longer than the context, the graph lacks
                a layer or cannot compute a mask with holes, or an argument asks for what it lacks.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config)
        has_names = check_call_arguments(kwargs, inputs.input_ids.shape[1])
        kept = kept_columns(logits_to_keep, inputs.input_ids.shape[1])
        checked_labels = None if labels is None else inputs.labels(labels, self.config)
        positions = inputs.positions(position_ids, self.config)
        layers = checked_layers(output_hidden_states, self.hidden_layers, self.config.num_layers)
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            logits, states = forward(
                decoder, inputs, positions, self.config, layers, with_logits=True
            )
        loss = None if checked_labels is None else causal_loss(logits, checked_labels)
        if len(kept) < logits.shape[1] or not isinstance(logits_to_keep, int):
            logits = logits[:, kept]
        output = CausalLMOutput(loss, logits, states if layers else None)
        return output if has_names else output.to_tuple()
