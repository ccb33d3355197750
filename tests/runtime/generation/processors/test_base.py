"""Every logits processor; tests/peers compares each with transformers' class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptneo_onnx.runtime.generation.processors import (
    constraints,
    penalties,
    sequence_bias,
    warpers,
)
from gptneo_onnx.runtime.generation.processors.base import (
    LogitsProcessorList,
    log_probabilities,
    probabilities,
)
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)

GONE = -np.inf
VOCAB = 12
# A session makes its thread flush subnormal floats, which hypothesis would draw.
FLOATS = st.integers(-5000, 5000).map(lambda hundredths: hundredths / 100)
TOKENS = st.integers(0, VOCAB - 1)
SOME_TOKENS = st.lists(TOKENS, min_size=1, max_size=4)
SEQUENCES = st.lists(SOME_TOKENS, min_size=1, max_size=4)
FRACTIONS = st.integers(1, 99).map(lambda hundredths: hundredths / 100)
COUNTS = st.integers(1, 6)
FACTORS = st.integers(5, 20).map(lambda tenths: tenths / 10)

PROCESSORS = {
    "temperature": st.builds(warpers.TemperatureLogitsWarper, FACTORS),
    "top_k": st.builds(warpers.TopKLogitsWarper, COUNTS),
    "top_p": st.builds(warpers.TopPLogitsWarper, FRACTIONS),
    "min_p": st.builds(warpers.MinPLogitsWarper, FRACTIONS),
    "typical": st.builds(warpers.TypicalLogitsWarper, FRACTIONS),
    "epsilon": st.builds(warpers.EpsilonLogitsWarper, FRACTIONS),
    "eta": st.builds(warpers.EtaLogitsWarper, FRACTIONS),
    "normalization": st.builds(warpers.LogitNormalization),
    "repetition": st.builds(penalties.RepetitionPenaltyLogitsProcessor, FACTORS),
    "encoder_repetition": st.builds(
        penalties.EncoderRepetitionPenaltyLogitsProcessor, FACTORS, SOME_TOKENS.map(np.array)
    ),
    "ngram": st.builds(penalties.NoRepeatNGramLogitsProcessor, COUNTS),
    "encoder_ngram": st.builds(
        penalties.EncoderNoRepeatNGramLogitsProcessor, COUNTS, SOME_TOKENS.map(np.array)
    ),
    "sequence_bias": st.builds(
        lambda sequences: sequence_bias.SequenceBiasLogitsProcessor([[s, 1.5] for s in sequences]),
        SEQUENCES,
    ),
    "bad_words": st.builds(sequence_bias.NoBadWordsLogitsProcessor, SEQUENCES, TOKENS),
    "min_length": st.builds(constraints.MinLengthLogitsProcessor, COUNTS, TOKENS),
    "min_new_tokens": st.builds(
        constraints.MinNewTokensLengthLogitsProcessor, COUNTS, COUNTS, SOME_TOKENS
    ),
    "forced_bos": st.builds(constraints.ForcedBOSTokenLogitsProcessor, TOKENS),
    "forced_eos": st.builds(constraints.ForcedEOSTokenLogitsProcessor, COUNTS, SOME_TOKENS),
    "suppress": st.builds(constraints.SuppressTokensLogitsProcessor, SOME_TOKENS),
    "begin_suppress": st.builds(
        constraints.SuppressTokensAtBeginLogitsProcessor, SOME_TOKENS, COUNTS
    ),
    "decay": st.builds(
        constraints.ExponentialDecayLengthPenalty, st.tuples(COUNTS, FACTORS), TOKENS, COUNTS
    ),
    "prefix": st.builds(
        lambda tokens: constraints.PrefixConstrainedLogitsProcessor(lambda batch, ids: tokens, 1),
        SOME_TOKENS,
    ),
    "inf_nan": st.builds(constraints.InfNanRemoveLogitsProcessor),
    "lefthash": st.builds(lambda: WatermarkingConfig().construct_processor(VOCAB)),
    "synthid": st.builds(
        lambda keys: SynthIDTextWatermarkingConfig(3, keys).construct_processor(VOCAB), SOME_TOKENS
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
@given(data=st.data())
def test_no_processor_changes_its_input(name, data):
    processor = data.draw(PROCESSORS[name])
    ids = np.array(data.draw(st.lists(TOKENS, min_size=1, max_size=8)))[None]
    row = data.draw(st.lists(FLOATS, min_size=VOCAB, max_size=VOCAB))
    for gone in data.draw(st.lists(TOKENS, max_size=VOCAB - 1)):
        row[gone] = GONE
    row[data.draw(TOKENS)] = 1.0
    scores = np.array([row], np.float32)
    for array in (ids, scores):
        array.flags.writeable = False
    processed = processor(ids, scores)
    assert processed.dtype == np.float32
    assert processed.shape == scores.shape
    assert not np.isnan(processed).any()


def test_a_list_applies_its_processors_in_turn():
    twice, first = (lambda ids, scores: scores * 2), (lambda ids, scores: scores + ids[:, :1])
    ids, scores = np.array([[3]]), np.array([[1.0]], np.float32)
    assert LogitsProcessorList([twice, first])(ids, scores).tolist() == [[5]]
    assert LogitsProcessorList([first, twice])(ids, scores).tolist() == [[8]]
    assert LogitsProcessorList()(ids, scores) is scores


def test_probabilities_sum_to_one():
    scores = np.array([[1000, 1000, GONE], [0, GONE, GONE]], np.float32)
    assert probabilities(scores).tolist() == [[0.5, 0.5, 0], [1, 0, 0]]


def test_log_probabilities_are_their_logarithms():
    scores = np.array([1000, 1000, GONE], np.float32)
    assert log_probabilities(scores).tolist() == [np.float32(np.log(0.5))] * 2 + [GONE]
