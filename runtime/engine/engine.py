"""Engine: an exported model that can be stepped, by one call at a time."""

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.manifest import GRAPH_FILE
from gptneo_onnx.models.tasks import Head, Task
from gptneo_onnx.runtime.engine.decoder import PREFILL_CHUNK, Decoder
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.forked_process import opening_after_fork
from gptneo_onnx.runtime.engine.load_decoders import DecoderFactory, load_decoders
from gptneo_onnx.runtime.engine.step_cost import step_cost
from gptneo_onnx.runtime.engine.task_check import check_head
from gptneo_onnx.runtime.engine.trial_load import check_by_trial
from gptneo_onnx.runtime.files import is_directory
from gptneo_onnx.runtime.model_files.directory import (
    FusedModel,
    ModelDirectory,
    PortableModel,
    open_model_directory,
)
from gptneo_onnx.runtime.model_files.precisions import graph_in_precision, smallest_other

MAX_SLOTS = 65536


class Engine:
    """Steps an exported model: token ids in, logits out.

    GPTNeoForCausalLM and GPTNeoModel have one; generation, evaluation and embeddings take one. By
    itself:

        engine = Engine.load(directory)
        with engine.exclusive():
            decoder = engine.decoder(slots=1)
            decoder.cache.clear(0)
            logits = decoder.prefill(0, ids)  # ids int64 [length], logits float32 [vocab]

    Attributes:
        path: the exported directory.
        config: the model's dimensions.
        prefill_chunk: tokens of a prompt that one step reads at most.
    """

    def __init__(self, model: ModelDirectory, make_decoder: DecoderFactory, slots: int = 1) -> None:
        if isinstance(slots, bool) or not isinstance(slots, int | np.integer) or slots < 1:
            raise InputError(f"slots is {shown(slots)}; a whole number of at least 1 is allowed")
        if slots > MAX_SLOTS:
            raise InputError(f"slots is {shown(slots)}; at most {MAX_SLOTS} are allowed")
        self.path = model.path
        self.config = model.config
        self.prefill_chunk = PREFILL_CHUNK
        self._model = model
        self._make_decoder = make_decoder
        self._decoder = self._larger_decoder(int(slots))
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None  # the one that has entered the engine
        self._loaded_by: dict[str, Any] | None = None  # load()'s arguments
        self._twins: dict[str, Engine] = {}  # by precision
        self._twins_lock = threading.Lock()

    @classmethod
    def load(
        cls,
        directory: str | Path,
        device: str = "auto",
        slots: int = 1,
        num_threads: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
        file_name: str | None = None,
        heads: Collection[Head] = (),
        mmap: bool = False,
        precision: str | None = None,
        spin: bool | None = None,
        batch_invariant: bool = False,
        trust_graph: bool = False,
    ) -> "Engine":
        """Load an exported directory; see GPTNeoForCausalLM.from_pretrained for arguments.

        `heads` are those that the caller can use: a model with another is refused before it is
        loaded. By default any will do.
        """
        if precision is not None and is_directory(directory):
            file_name = graph_in_precision(Path(directory), precision, file_name)
        model = open_model_directory(directory, file_name)
        check_head(model.path, model.task, heads)
        check_by_trial(model, trust_graph)
        options = num_threads, provider_options, mmap, spin
        decoders = load_decoders(model, batch_invariant, device, *options)
        engine = cls(model, decoders, slots)
        engine._loaded_by = {
            "directory": str(Path(directory).absolute()),
            "device": str(engine.device),
            "slots": slots,
            "num_threads": num_threads,
            "provider_options": provider_options,
            "file_name": file_name,
            "mmap": mmap,
            "spin": spin,
            "batch_invariant": batch_invariant,
            "trust_graph": trust_graph,
        }
        return engine

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy an engine by the directory, which is opened again: for worker processes.

        Raises:
            TypeError: it was not made by load().
        """
        if self._loaded_by is None:
            raise TypeError("only an Engine that load() made can be pickled or copied")
        return partial(Engine.load, **self._loaded_by), ()

    @classmethod
    def of(
        cls, model: Any, name: str = "model", heads: Collection[Head] = (Head.CAUSAL_LM,)
    ) -> "Engine":
        """The engine of a model that has one, such as GPTNeoForCausalLM, or the engine itself.

        Args:
            model: what a caller passed.
            name: of that argument, for the message.
            heads: those that the caller can use; any if it is empty.

        Raises:
            InputError: it has none, or is a model with another head.
        """
        engine = getattr(model, "engine", model)
        if not isinstance(engine, cls):
            raise InputError(
                f"{name} is {shown(model)}; a model loaded with "
                f"{[*heads, Head.CAUSAL_LM][0].value}.from_pretrained(directory) is expected"
            )
        check_head(engine.path, engine.task, heads)
        return engine

    def twin(self, precision: str | None = None, argument: str = "precision") -> "Engine":
        """Return the same model in another precision, of the same directory; it is loaded once.

        Args:
            precision: its name; by default the smallest one in the directory.
            argument: what the caller calls it, for the message.

        Raises:
            InputError: the directory has no such precision, or load() did not make the engine.
        """
        if self._loaded_by is None:
            raise InputError(
                f"{argument} is {shown(precision)}, and this model was not loaded from a "
                "directory; pass a loaded model"
            )
        directory, own = Path(self._loaded_by["directory"]), self._loaded_by["file_name"]
        precision = precision or smallest_other(directory, own, argument)
        name = graph_in_precision(directory, precision, own, argument)
        if name == (own or GRAPH_FILE):
            return self
        with self._twins_lock:
            if precision not in self._twins:
                own_options = {"slots": 1, "file_name": name, "mmap": False}
                self._twins[precision] = Engine.load(**self._loaded_by | own_options)
            return self._twins[precision]

    @property
    def device(self) -> Device:
        """Where the steps run."""
        return self._decoder.device

    @property
    def dtype(self) -> str:
        """The type that steps calculate in: float32, float16 or bfloat16."""
        model = self._model
        if isinstance(model, FusedModel):
            return model.numbers.activations.value
        # Graphs without past have caches of no type; those calculate in float32.
        assert isinstance(model, PortableModel)
        return model.interfaces[-1].cache_type.value

    def on(self, device: str) -> "Engine":
        """Return the same model on a device: this engine, or the directory opened there again.

        Args:
            device: cpu, cuda or cuda:N.

        Raises:
            InputError: load() did not make the engine, or that is no device's name.
            DeviceError: the device cannot be had.
        """
        if device in (str(self.device), self.device.type):
            return self
        if self._loaded_by is None:
            raise InputError(
                f"device is {shown(device)}, and this model was not loaded from a directory; load "
                "it with from_pretrained(directory, device=...)"
            )
        return Engine.load(**self._loaded_by | {"device": device})

    @property
    def directory(self) -> ModelDirectory:
        """The model's directory: its files, its manifest and what was found out about them."""
        return self._model

    @property
    def task(self) -> Task:
        """What the model was exported for."""
        return self._model.task

    @property
    def precision(self) -> str | None:
        """How the graph's weights are stored, as fp32; None where no manifest says so."""
        model = self._model
        if model.manifest is None:
            return None
        if isinstance(model, FusedModel):
            return model.numbers.precision.value
        assert isinstance(model, PortableModel)
        graph = model.graphs[-1]
        return model.manifest.graphs[graph.name].numbers.precision.value

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The layers whose hidden states the graph gives, numbered as in transformers."""
        return self._decoder.hidden_layers

    @property
    def fingerprint(self) -> str:
        """Identifies graph and weights; a prompt cache is valid only for the same fingerprint."""
        return self._model.fingerprint

    @property
    def step_cost(self) -> float:
        """About how long a step takes, to be compared with other engines'."""
        numbers = self._model.numbers if isinstance(self._model, FusedModel) else None
        return step_cost(self.config, numbers)

    @property
    def cache_bytes(self) -> int:
        """Bytes of the cache at its present number of slots."""
        return self._decoder.cache.nbytes

    def decoder(self, slots: int, prefill_chunk: int | None = None) -> Decoder:
        """Return the decoder that all calls share; make a larger one if it has too few slots.

        A larger one has an empty cache.

        Args:
            slots: sequences that are stepped together.
            prefill_chunk: tokens of a prompt that one step reads at most, instead of the engine's.
        """
        if slots > self._decoder.cache.slots:
            self._decoder = self._larger_decoder(slots)
        self._decoder.prefill_chunk = prefill_chunk or self.prefill_chunk
        return self._decoder

    def _larger_decoder(self, slots: int) -> Decoder:
        try:
            return self._make_decoder(slots)
        except MemoryError as error:
            raise InputError(
                f"a cache for {slots} sequences at once does not fit into memory; take fewer "
                "prompts, beams or results at once"
            ) from error

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other thread uses the engine; others wait while this is entered.

        Two calls at once would write into the same cache.

        In a process that was forked, the model is opened again first.

        Raises:
            InputError: this thread has entered it already, so it would wait for itself: a
                streamer or a processor calls the model that calls it, or an iterator of
                generate_tokens() is open. Or it cannot be opened again.
        """
        if self._process != os.getpid():
            self._open_again()
        if self._thread is threading.current_thread():
            raise InputError(
                "this model is at work in another call; wait for it, or load a second model: a "
                "streamer or a processor cannot call the model that is calling it, and an iterator "
                "of generate_tokens() must be exhausted or closed first"
            )
        with self._lock:
            self.enter_thread()
            try:
                yield
            finally:
                self._thread = None

    def _open_again(self) -> None:
        """Open the model in a process that was forked."""
        with opening_after_fork():
            if self._process == os.getpid():  # another thread was faster
                return
            if self._loaded_by is None:
                raise InputError(
                    "this model was not loaded from a directory, and this process was forked "
                    "since; load a model in this process"
                )
            again = vars(Engine.load(**self._loaded_by))
            vars(self).update(again, prefill_chunk=self.prefill_chunk)

    def enter_thread(self) -> None:
        """Let this thread be the one that has entered, when it resumes an iterator of another."""
        self._thread = threading.current_thread()
