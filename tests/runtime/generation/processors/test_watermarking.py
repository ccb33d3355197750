"""Green lists as transformers 4.57 draws them; tests/peers compares many more."""

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.synthid import SynthIDTextWatermarkLogitsProcessor
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
    WatermarkLogitsProcessor,
)


def raised(processor: WatermarkLogitsProcessor, vocab: int, *ids: int) -> list[int]:
    """Return the tokens whose scores rise by the bias; the last token has the best score."""
    scores = np.arange(vocab, dtype=np.float32)[None]
    difference = (processor(np.array([ids]), scores) - scores)[0]
    assert set(difference.tolist()) <= {0, processor.bias}
    return np.flatnonzero(difference).tolist()


def test_lefthash_draws_a_quarter_of_the_vocabulary_by_the_last_token():
    processor = WatermarkLogitsProcessor(20)
    assert raised(processor, 20, 1, 5) == [2, 5, 8, 10, 18]
    assert raised(processor, 20, 3, 5) == [2, 5, 8, 10, 18]
    assert raised(processor, 20, 1, 6) == [6, 8, 9, 12, 17]


def test_selfhash_raises_candidates_that_are_in_their_own_list():
    processor = WatermarkLogitsProcessor(48, seeding_scheme="selfhash")
    assert raised(processor, 48, 1, 5) == [17, 18, 20, 42]
    assert raised(processor, 48, 1, 6) == [17, 18, 20, 42]


def test_selfhash_takes_the_context_into_account():
    processor = WatermarkLogitsProcessor(48, seeding_scheme="selfhash", context_width=2)
    assert raised(processor, 48, 1, 5) == [17, 18, 42, 44]
    assert raised(processor, 48, 1, 6) == [25, 26, 30, 33]


def test_another_key_draws_other_lists():
    processor = WatermarkLogitsProcessor(20, hashing_key=7)
    assert raised(processor, 20, 1, 5) != raised(WatermarkLogitsProcessor(20), 20, 1, 5)


def test_an_empty_list_raises_no_token():
    assert (
        raised(WatermarkLogitsProcessor(48, "cpu", 0.001, seeding_scheme="selfhash"), 48, 1, 5)
        == []
    )
    assert raised(WatermarkLogitsProcessor(48, "cpu", 0.001), 48, 1, 5) == []


def test_there_is_no_watermark_before_the_context_is_there():
    scores = np.zeros((1, 20), np.float32)
    assert WatermarkLogitsProcessor(20, context_width=3)(np.array([[1, 2]]), scores) is scores


def test_every_row_has_its_own_list():
    scores = np.zeros((2, 20), np.float32)
    processed = WatermarkLogitsProcessor(20)(np.array([[5], [6]]), scores)
    assert np.flatnonzero(processed[0]).tolist() == [2, 5, 8, 10, 18]
    assert np.flatnonzero(processed[1]).tolist() == [6, 8, 9, 12, 17]


def test_configs_construct_their_processors():
    config = WatermarkingConfig.from_dict({"bias": 3.5, "context_width": 2})
    assert config == WatermarkingConfig(bias=3.5, context_width=2)
    assert config.construct_processor(20) == WatermarkLogitsProcessor(20, bias=3.5, context_width=2)
    synthid = SynthIDTextWatermarkingConfig.from_dict({"ngram_len": 5, "keys": [1, 2]})
    assert isinstance(synthid.construct_processor(20), SynthIDTextWatermarkLogitsProcessor)


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (
            lambda: WatermarkingConfig(seeding_scheme="righthash"),
            "seeding_scheme is 'righthash'; lefthash or selfhash is allowed",
        ),
        (
            lambda: WatermarkingConfig(greenlist_ratio=1.0),
            "greenlist_ratio is 1.0; a number above 0 and below 1 is allowed",
        ),
        (lambda: WatermarkingConfig(context_width=0), "context_width is 0; a whole number of at"),
        (lambda: WatermarkingConfig(bias="much"), "bias is 'much'; a number is allowed"),
        (lambda: WatermarkingConfig(hashing_key=-1), "hashing_key is -1; a whole number from 0 to"),
        (
            lambda: WatermarkingConfig.from_dict({"colour": "green"}),
            "watermarking_config has 'colour'; greenlist_ratio, bias, hashing_key, ",
        ),
        (
            lambda: SynthIDTextWatermarkingConfig.from_dict({"keys": [1]}),
            "watermarking_config lacks ngram_len",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(construct, message):
    with pytest.raises(InputError) as error:
        construct()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
