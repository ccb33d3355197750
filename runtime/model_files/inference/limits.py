"""The most memory and work that a GPT-Neo needs: the limits for a graph that says it is one."""

from dataclasses import dataclass

from gptneo_onnx.models.config import GPTNeoConfig

_FLOAT_BYTES = 4
# Exporters repeat, widen and transpose tensors, and give masks eight bytes where one would do.
_RESULT_TIMES = 2
_LIVE_TIMES = 8
_CONSTANT_TIMES = 4
_WORK_TIMES = 8
# What any graph may have, however small its model.
_LEAST_BYTES = 2**24
_LEAST_WORK = 2**32


@dataclass(frozen=True)
class Limits:
    """The most that a graph of a config may take, for one text as long as the context.

    Attributes:
        result: bytes of a weight, a constant or the result of an operator.
        constants: bytes of all weights, and of all results that depend on these alone.
        live: bytes of all results that are there at a time.
        work: multiplications and additions of all operators.
        constant_work: those of operators that depend on weights and constants alone.
    """

    result: int
    constants: int
    live: int
    work: int
    constant_work: int

    @classmethod
    def of(cls, config: GPTNeoConfig) -> "Limits":
        """Return the limits of a config."""
        context, hidden, layers = (
            config.max_position_embeddings,
            config.hidden_size,
            config.num_layers,
        )
        inner, vocab = config.intermediate_size, config.vocab_size
        columns = config.labels.count
        padded = config.num_heads * config.cache_head_dim
        width = max(hidden, padded)
        scores = config.num_heads * context * context
        largest = max(
            vocab * hidden,
            context * max(columns, vocab),
            scores,
            context * max(inner, 3 * width),
            hidden * max(inner, 3 * width),
        )
        block = 4 * width * hidden + 2 * hidden * inner + 16 * max(hidden, inner)
        # Some exporters store a mask [context, context] for each layer.
        weights = layers * (block + context * context) + 2 * (vocab + columns + context) * hidden
        caches = layers * 2 * context * width
        states = (layers + 1) * context * hidden
        work = context * weights + 2 * layers * scores * config.cache_head_dim
        return cls(
            result=max(_LEAST_BYTES, _RESULT_TIMES * _FLOAT_BYTES * largest),
            constants=max(4 * _LEAST_BYTES, _CONSTANT_TIMES * _FLOAT_BYTES * weights),
            live=max(
                4 * _LEAST_BYTES,
                _FLOAT_BYTES * (2 * caches + 2 * states + _LIVE_TIMES * largest),
            ),
            work=max(_LEAST_WORK, _WORK_TIMES * work),
            constant_work=max(_LEAST_WORK, 16 * _CONSTANT_TIMES * weights),
        )


def least_weights(config: GPTNeoConfig) -> int:
    """Return the weights that every GPT-Neo of a config has: tables and linear layers."""
    hidden, inner = config.hidden_size, config.intermediate_size
    rows = config.vocab_size + config.max_position_embeddings
    return rows * hidden + config.num_layers * (4 * hidden * hidden + 2 * hidden * inner)
