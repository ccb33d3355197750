"""Every field of GenerationConfig takes extreme numbers as transformers does, or is refused in one
line: never a warning of numpy, an OverflowError or memory that is not there."""

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from refusals import check_message
from small_checkpoint import write_small_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import GPTNeoOnnxError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES

NUMBERS = (
    0, -1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, -(10**400), 0.0, -0.0, 1e-320, 1e308,
    -1e308, float("inf"), -float("inf"), float("nan"), True, False, "3", Decimal(1), Decimal("NaN"),
    Decimal("sNaN"), Decimal("1e400"), Fraction(1, 3), 1j,
)  # fmt: skip
OTHERS = (np.object_, np.void, np.datetime64, np.timedelta64)
SCALARS = (
    *(kind(1) for kind in dict.fromkeys(np.sctypeDict.values()) if kind not in OTHERS),
    np.datetime64(1, "s"), np.timedelta64(1, "s"),
    np.float32("nan"), np.float16("inf"), np.uint64(2**64 - 1), np.void(b"a"), np.array(1),
    np.array([1]), np.array([1, 2]), np.array([]), np.array([[1.5]]), np.array(["a"]),
)  # fmt: skip
# Other values, beside which fields have an effect that have none alone.
BESIDE = {
    "greedy": {},
    "sample": {"do_sample": True},
    "beams": {"num_beams": 2},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "lookup": {"prompt_lookup_num_tokens": 2},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extreme")
    write_small_checkpoint(folder / "checkpoint", np.random.default_rng(5))
    out = export_model(folder / "checkpoint", folder / "model")
    return GPTNeoForCausalLM.from_pretrained(out, slots=4), Tokenizer.from_pretrained(out)


def use(model, values):
    """Set values in a config and in a call, and do with the config what can be done with one."""
    causal, tokenizer = model
    causal.generate([[1, 2, 3]], tokenizer=tokenizer, **values)
    config = GenerationConfig(**values)
    causal.generate([[1, 2, 3]], tokenizer=tokenizer, generation_config=config)
    assert repr(config)
    assert hash(config) == hash(GenerationConfig.from_dict(config.to_dict()))
    config.to_diff_dict()
    config.validate(strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("values", [NUMBERS, SCALARS], ids=["numbers", "scalars"])
@pytest.mark.parametrize("name", DEFAULT_VALUES)
@pytest.mark.parametrize("beside", BESIDE)
def test_an_extreme_value(model, name, values, beside):
    for value in values:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("ignore", UserWarning)
            try:
                use(model, {"max_new_tokens": 2, "eos_token_id": 0, **BESIDE[beside], name: value})
            except GPTNeoOnnxError as error:
                check_message(error)
