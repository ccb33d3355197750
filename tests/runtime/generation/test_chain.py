"""The processors that a config asks for, their order, and the lengths that they get."""

import numpy as np
import pytest
from checkpoints import Shape
from plain_generation import greedy, next_scores
from reference import ReferenceGPTNeo

from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM
from gptneo_onnx.runtime.generation.chain import (
    ChainFactory,
    Prompt,
)

VOCAB = 301
EVERYTHING = GenerationConfig(
    eos_token_id=0,
    do_sample=True,
    sequence_bias=[[[3], 1.0]],
    encoder_repetition_penalty=1.1,
    repetition_penalty=1.2,
    no_repeat_ngram_size=3,
    encoder_no_repeat_ngram_size=4,
    bad_words_ids=[[5]],
    min_length=9,
    forced_bos_token_id=1,
    forced_eos_token_id=2,
    remove_invalid_values=True,
    exponential_decay_length_penalty=(3, 1.5),
    suppress_tokens=[7],
    begin_suppress_tokens=[8],
    temperature=0.7,
    top_k=20,
    top_p=0.9,
    min_p=0.1,
    typical_p=0.9,
    epsilon_cutoff=0.01,
    eta_cutoff=0.01,
    watermarking_config={"bias": 2.0},
    renormalize_logits=True,
)
PROMPT = Prompt(np.array([4, 5, 6]), padding=2)


def names(chain):
    return [type(each).__name__ for each in chain]


def before(config, prompt=PROMPT, max_new_tokens=10, allowed=None):
    return ChainFactory(config, max_new_tokens, VOCAB, allowed).processors(prompt)


def after(config):
    """The config's processors after the caller's own."""
    return ChainFactory(config, 1, VOCAB).warpers()


def only(config, kind, prompt=PROMPT, max_new_tokens=10):
    """Return the only processor of a class."""
    (found,) = [each for each in before(config, prompt, max_new_tokens) if names([each]) == [kind]]
    return found


class TestOrder:
    def test_everything_before_the_callers_processors(self):
        """transformers 4.57, GenerationMixin._get_logits_processor; one class for both minima."""
        assert names(before(EVERYTHING, allowed=lambda row, ids: [1])) == [
            "SequenceBiasLogitsProcessor",
            "EncoderRepetitionPenaltyLogitsProcessor",
            "RepetitionPenaltyLogitsProcessor",
            "NoRepeatNGramLogitsProcessor",
            "EncoderNoRepeatNGramLogitsProcessor",
            "NoBadWordsLogitsProcessor",
            "MinLengthLogitsProcessor",
            "PrefixConstrainedLogitsProcessor",
            "ForcedBOSTokenLogitsProcessor",
            "ForcedEOSTokenLogitsProcessor",
            "InfNanRemoveLogitsProcessor",
            "ExponentialDecayLengthPenalty",
            "SuppressTokensLogitsProcessor",
            "SuppressTokensAtBeginLogitsProcessor",
        ]

    def test_everything_after_the_callers_processors(self):
        assert names(after(EVERYTHING)) == [
            "TemperatureLogitsWarper",
            "TopKLogitsWarper",
            "TopPLogitsWarper",
            "MinPLogitsWarper",
            "TypicalLogitsWarper",
            "EpsilonLogitsWarper",
            "EtaLogitsWarper",
            "WatermarkLogitsProcessor",
            "LogitNormalization",
        ]

    def test_without_sampling_only_watermark_and_normalization_remain(self):
        greedy_config = EVERYTHING.updated(do_sample=False)
        assert names(after(greedy_config)) == [
            "WatermarkLogitsProcessor",
            "LogitNormalization",
        ]

    def test_greedy_decoding_has_none(self):
        config = GenerationConfig(eos_token_id=0, pad_token_id=3)
        assert before(config) == []
        assert after(config) == []

    def test_sampling_has_the_top_50_by_default(self):
        (warper,) = after(GenerationConfig(do_sample=True))
        assert type(warper).__name__ == "TopKLogitsWarper"
        assert warper.top_k == 50

    @pytest.mark.parametrize(
        "neutral",
        [
            {"encoder_repetition_penalty": 1.0, "repetition_penalty": 1.0},
            {"no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0},
            {"min_length": 0, "min_new_tokens": 0},
            {"bad_words_ids": None, "sequence_bias": None, "suppress_tokens": None},
            {"remove_invalid_values": False, "renormalize_logits": False},
            {"min_length": 9, "eos_token_id": None},  # nothing that could be held back
            {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0, "do_sample": True},
            {"epsilon_cutoff": 0.0, "eta_cutoff": 1.0, "top_k": None, "do_sample": True},
        ],
        ids=str,
    )
    def test_values_that_ask_for_nothing_add_no_processor(self, neutral):
        # update() takes None back to a field's default, the constructor keeps it.
        config = GenerationConfig(**({"eos_token_id": 0} | neutral))
        assert before(config) == after(config) == []

    @pytest.mark.parametrize(
        ("arguments", "kept"),
        [
            ({}, 1),
            ({"num_beams": 2}, 2),
            ({"num_beams": 2, "eos_token_id": 0}, 2),
            ({"num_beams": 2, "eos_token_id": (0, 1, 2)}, 4),
        ],
        ids=str,
    )
    def test_beams_keep_a_token_more_than_there_are_ends(self, arguments, kept):
        config = GenerationConfig(do_sample=True, top_k=1, top_p=0.1, **arguments)
        assert [each.min_tokens_to_keep for each in after(config)] == [kept, kept]


class TestLengths:
    """Processors count tokens without padding; a caller's min_length counts columns."""

    @pytest.mark.parametrize(("padding", "least"), [(0, 9), (2, 7), (8, 1)])
    def test_min_length_counts_padding(self, padding, least):
        config = GenerationConfig(eos_token_id=0, min_length=9)
        prompt = Prompt(np.array([4]), padding=padding)
        assert only(config, "MinLengthLogitsProcessor", prompt).min_length == least

    @pytest.mark.parametrize("padding", [9, 30])
    def test_padding_alone_may_reach_it(self, padding):
        config = GenerationConfig(eos_token_id=0, min_length=9)
        assert before(config, Prompt(np.array([4]), padding=padding)) == []

    @pytest.mark.parametrize("padding", [0, 2, 50])
    @pytest.mark.parametrize("min_length", [0, 5, 40])
    def test_min_new_tokens_takes_precedence(self, padding, min_length):
        config = GenerationConfig(eos_token_id=0, min_length=min_length, min_new_tokens=4)
        prompt = Prompt(np.array([4, 5, 6]), padding=padding)
        assert only(config, "MinLengthLogitsProcessor", prompt).min_length == 3 + 4

    def test_min_new_tokens_of_zero_adds_no_processor(self):
        config = GenerationConfig(eos_token_id=0, min_length=40, min_new_tokens=0)
        assert before(config) == []

    @pytest.mark.parametrize("padding", [0, 2, 50])
    def test_the_other_lengths_count_from_the_end_of_the_prompt(self, padding):
        prompt = Prompt(np.array([4, 5, 6]), padding=padding)
        assert only(EVERYTHING, "ForcedEOSTokenLogitsProcessor", prompt).max_length == 13
        assert only(EVERYTHING, "SuppressTokensAtBeginLogitsProcessor", prompt).begin_index == 3
        decay = only(EVERYTHING, "ExponentialDecayLengthPenalty", prompt)
        assert decay.input_ids_seq_length == 3

    @pytest.mark.parametrize(("forced", "begin"), [(None, 1), (5, 2)])
    def test_the_beginning_is_after_a_forced_first_token(self, forced, begin):
        config = GenerationConfig(begin_suppress_tokens=[8], forced_bos_token_id=forced)
        prompt = Prompt(np.array([4]))
        found = only(config, "SuppressTokensAtBeginLogitsProcessor", prompt)
        assert found.begin_index == begin

    def test_each_prompts_function_is_called_with_its_row(self):
        seen = []

        def allowed(row, ids):
            seen.append((row, ids.tolist()))
            return [1]

        config = GenerationConfig(num_beams=2)
        (processor,) = before(config, Prompt(np.array([4]), row=5), allowed=allowed)
        processor(np.array([[4, 6], [4, 7]]), np.zeros((2, VOCAB), np.float32))
        assert seen == [(5, [4, 6]), (5, [4, 7])]


class TestFactory:
    OTHER = Prompt(np.array([4, 5, 6]), row=1)

    @staticmethod
    def factory(config, allowed=None):
        return ChainFactory(config, 10, VOCAB, allowed)

    def test_its_chains_are_those_of_the_functions(self):
        factory = self.factory(EVERYTHING, allowed := lambda row, ids: [1])
        ids = np.array([[4, 5, 6, 3]])
        scores = np.random.default_rng(0).normal(size=(1, VOCAB)).astype(np.float32)
        for prompt in (PROMPT, self.OTHER, PROMPT):
            expected = before(EVERYTHING, prompt, allowed=allowed)
            assert names(factory.processors(prompt)) == names(expected)
            for made, alone in zip(factory.processors(prompt), expected, strict=True):
                assert (made(ids, scores) == alone(ids, scores)).all()
            expected = after(EVERYTHING)
            assert names(factory.warpers()) == names(expected)
            assert (factory.warpers()(ids, scores) == expected(ids, scores)).all()

    def test_what_does_not_depend_on_the_prompt_is_made_once(self):
        factory = self.factory(EVERYTHING, lambda row, ids: [1])
        first, second = (factory.processors(prompt) for prompt in (PROMPT, self.OTHER))
        shared = [one for one, other in zip(first, second, strict=True) if one is other]
        assert names(shared) == [
            "SequenceBiasLogitsProcessor",
            "RepetitionPenaltyLogitsProcessor",
            "NoRepeatNGramLogitsProcessor",
            "NoBadWordsLogitsProcessor",
            "ForcedBOSTokenLogitsProcessor",
            "InfNanRemoveLogitsProcessor",
            "SuppressTokensLogitsProcessor",
        ]
        pairs = zip(factory.warpers(), factory.warpers(), strict=True)
        assert all(one is other for one, other in pairs)

    def test_a_prompts_processors_are_made_once(self):
        factory = self.factory(EVERYTHING, lambda row, ids: [1])
        same = Prompt(PROMPT.ids.copy(), padding=2)
        pairs = zip(factory.processors(PROMPT), factory.processors(same), strict=True)
        assert all(one is other for one, other in pairs)

    @pytest.mark.parametrize(
        "other", [Prompt(PROMPT.ids, 1, 2), Prompt(PROMPT.ids, 0, 3), Prompt(PROMPT.ids[:2], 0, 2)]
    )
    def test_prompts_that_differ_have_processors_of_their_own(self, other):
        def allowed(row, ids):
            return [1]

        config = GenerationConfig(eos_token_id=0, min_length=9, forced_eos_token_id=2)
        factory = self.factory(config, allowed)
        assert factory.processors(PROMPT) == before(config, PROMPT, allowed=allowed)
        assert factory.processors(other) == before(config, other, allowed=allowed)
        assert factory.processors(other) != factory.processors(PROMPT)

    def test_chains_are_lists_of_their_own(self):
        factory = self.factory(EVERYTHING)
        for made in (lambda: factory.processors(PROMPT), factory.warpers):
            expected = names(made())
            made().clear()
            assert names(made()) == expected

    def test_synthids_processor_keeps_state_and_is_never_shared(self):
        keys = {"ngram_len": 3, "keys": [5, 6]}
        factory = self.factory(GenerationConfig(watermarking_config=keys))
        (first,), (second,) = factory.warpers(), factory.warpers()
        assert first is not second


class TestInAText:
    """The effects of the lengths on generated tokens."""

    @pytest.fixture
    def directory(self, export_shape):
        return export_shape(Shape())

    @pytest.fixture
    def model(self, directory):
        return GPTNeoForCausalLM.from_pretrained(directory, device="cpu")

    @pytest.fixture
    def scores(self, directory):
        return next_scores(ReferenceGPTNeo.open(directory.parent / "checkpoint"))

    def test_padding_changes_nothing_that_looks_at_tokens(self, model):
        """The padding holds the tokens that would be penalized."""
        arguments = {
            "repetition_penalty": 3.0,
            "encoder_repetition_penalty": 0.5,
            "no_repeat_ngram_size": 2,
            "encoder_no_repeat_ngram_size": 2,
            "max_new_tokens": 25,
            "eos_token_id": None,
        }
        prompt = [11, 12, 13]
        alone = model.generate([prompt], **arguments)[0, 3:].tolist()
        padded = model.generate([alone[:10] + prompt], [[0] * 10 + [1] * 3], **arguments)
        assert padded[0, 13:].tolist() == alone

    def test_a_first_and_a_last_token_that_are_forced(self, model):
        result = model.generate(
            [[9, 9, 4], [2, 3, 5]],
            [[0, 0, 1], [1, 1, 1]],
            forced_bos_token_id=50,
            forced_eos_token_id=60,
            max_new_tokens=8,
            eos_token_id=None,
        )
        assert result[0, 3] == 50  # that prompt has one token, padding or not
        assert result[1, 3] != 50
        assert result[:, -1].tolist() == [60, 60]
        assert 60 not in result[:, 3:-1]

    def test_min_length_in_a_ragged_batch(self, model, scores):
        prompts = [[3], [4, 5, 6, 7]]
        end = greedy(scores, prompts[0], 1)[0]
        arguments = {"max_new_tokens": 20, "eos_token_id": end, "pad_token_id": 300}
        result = model.generate(
            [[1, 1, 1, 3], [4, 5, 6, 7]], [[0, 0, 0, 1], [1] * 4], min_length=9, **arguments
        )
        alone = model.generate([[3]], min_length=6, **arguments)
        assert end not in result[:, 4:9]
        assert result[0, 4 : 4 + alone.shape[1] - 1].tolist() == alone[0, 1:].tolist()
