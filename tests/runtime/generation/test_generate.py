"""generate(): greedy text against the oracle, ragged batches, lengths, stopping, arguments."""

import numpy as np
import pytest
from numpy.typing import NDArray
from reference import ReferenceGPTNeo

from gptneo_onnx.models import DeviceError, InputError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, PromptCache, Tokenizer
from gptneo_onnx.runtime.engine.session import Session

VOCAB = 301


def oracle_greedy(oracle: ReferenceGPTNeo, prompt: NDArray[np.int64], count: int) -> list[int]:
    ids = prompt.tolist()
    for _ in range(count):
        ids.append(int(oracle.logits(np.array(ids))[-1].argmax()))
    return ids[len(prompt) :]


def left_padded(prompts: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    width = max(map(len, prompts))
    ids = np.full((len(prompts), width), 7, np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def test_greedy_text_is_the_oracles_far_past_the_window(model, oracle, random):
    prompt = random.integers(0, VOCAB, 9)
    result = model.generate([prompt], max_new_tokens=50, eos_token_id=None)
    assert result.dtype == np.int64
    assert result[0].tolist() == prompt.tolist() + oracle_greedy(oracle, prompt, 50)


def test_greedy_text_in_a_ragged_batch_is_the_oracles(model, oracle, random):
    prompts = [random.integers(0, VOCAB, length) for length in (1, 23, 4, 12, 23)]
    ids, mask = left_padded(prompts)
    model.engine.prefill_chunk = 6
    results = model.generate(ids, mask, max_new_tokens=30, eos_token_id=None)
    assert (results[:, : ids.shape[1]] == ids).all()
    for prompt, result in zip(prompts, results, strict=True):
        assert result[ids.shape[1] :].tolist() == oracle_greedy(oracle, prompt, 30)


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, np.float32(0)], ids=repr)
@pytest.mark.parametrize("way", ["arguments", "config", "model"])
def test_a_temperature_of_0_decodes_greedily(model, oracle, random, monkeypatch, zero, way):
    prompt = random.integers(0, VOCAB, 9)
    asked = {"do_sample": True, "temperature": zero, "top_p": 0.5, "seed": 3}
    if way == "config":
        asked = {"generation_config": GenerationConfig(**asked)}
    elif way == "model":
        monkeypatch.setattr(model, "generation_config", GenerationConfig(**asked))
        asked = {}
    result = model.generate([prompt], max_new_tokens=20, eos_token_id=None, **asked)
    assert result[0].tolist() == prompt.tolist() + oracle_greedy(oracle, prompt, 20)


def test_sampled_beams_at_a_temperature_of_0_are_searched(model, random):
    prompt = [random.integers(0, VOCAB, 9)]
    beams = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 12}
    result = model.generate(prompt, do_sample=True, temperature=0, **beams)
    assert result.tolist() == model.generate(prompt, do_sample=False, **beams).tolist()


def test_a_sequence_that_ends_early_leaves_its_batch_mates_alone(model, oracle, random):
    prompts = [random.integers(0, VOCAB, length) for length in (8, 5, 8)]
    expected = [oracle_greedy(oracle, prompt, 20) for prompt in prompts]
    end = expected[1][3]  # ends the second sequence first, unless another says it sooner
    ids, mask = left_padded(prompts)
    results = model.generate(ids, mask, max_new_tokens=20, eos_token_id=end, pad_token_id=9)
    for result, tokens in zip(results[:, 8:].tolist(), expected, strict=True):
        kept = tokens[: tokens.index(end) + 1] if end in tokens else tokens
        assert result[: len(kept)] == kept
        assert set(result[len(kept) :]) <= {9}


def test_a_model_is_as_good_as_new_after_a_call(model, random):
    first, second = random.integers(0, VOCAB, (2, 1, 30))
    alone = model.generate(second, max_new_tokens=20)
    model.generate(first, max_new_tokens=30)
    model(first)
    assert model.generate(second, max_new_tokens=20).tolist() == alone.tolist()


def test_sampled_tokens_do_not_depend_on_batch_mates(model, random):
    prompts = [random.integers(0, VOCAB, length) for length in (6, 17, 3, 11)]
    ids, mask = left_padded(prompts)
    arguments = {"do_sample": True, "top_k": 0, "max_new_tokens": 25, "seed": 5}
    together = model.generate(ids, mask, eos_token_id=None, **arguments)[:, ids.shape[1] :]
    order = [2, 0, 3, 1]
    reordered = model.generate(ids[order], mask[order], eos_token_id=None, **arguments)
    for row, prompt in enumerate(prompts):
        alone = model.generate([prompt], eos_token_id=None, **arguments)[0, len(prompt) :]
        assert together[row].tolist() == alone.tolist()
        assert reordered[order.index(row), ids.shape[1] :].tolist() == alone.tolist()


def test_num_return_sequences_differ_and_repeat_with_the_seed(model, random):
    prompt = random.integers(0, VOCAB, (1, 4))
    arguments = {"do_sample": True, "num_return_sequences": 5, "max_new_tokens": 12, "seed": 3}
    results = model.generate(prompt, **arguments)
    assert results.shape[0] == 5
    assert len({tuple(row) for row in results.tolist()}) == 5
    assert model.generate(prompt, **arguments).tolist() == results.tolist()
    assert model.generate(prompt, **{**arguments, "seed": 4}).tolist() != results.tolist()


def test_a_seed_for_each_result(model, random):
    prompts = random.integers(0, VOCAB, (2, 4))
    arguments = {"do_sample": True, "max_new_tokens": 10, "eos_token_id": None}
    results = model.generate(prompts, seed=[1, 2], **arguments)
    for row, seed in enumerate((1, 2)):
        alone = model.generate(prompts[row : row + 1], seed=seed, **arguments)
        assert results[row].tolist() == alone[0].tolist()
    with pytest.raises(InputError, match="seed has 3 numbers; one for each of 2"):
        model.generate(prompts, seed=[1, 2, 3], **arguments)


class TestLengths:
    def test_default_is_20_new_tokens(self, model):
        assert model.generate([[1, 2, 3]], eos_token_id=None).shape == (1, 23)

    def test_default_is_cut_to_the_context(self, model):
        assert model.generate([[1] * 60], eos_token_id=None).shape == (1, 64)

    def test_max_length_counts_the_prompt(self, model):
        assert model.generate([[1, 2, 3]], max_length=10, eos_token_id=None).shape == (1, 10)

    def test_max_new_tokens_takes_precedence(self, model):
        result = model.generate([[1, 2]], max_length=10, max_new_tokens=3, eos_token_id=None)
        assert result.shape == (1, 5)

    def test_min_length_and_min_new_tokens_hold_the_end_back(self, model, oracle):
        prompt = np.array([1, 2, 3])
        end = oracle_greedy(oracle, prompt, 1)[0]
        stopped = model.generate([prompt], eos_token_id=end, max_new_tokens=30)
        assert stopped.shape == (1, 4)
        longer = model.generate([prompt], eos_token_id=end, max_new_tokens=30, min_length=12)
        assert end not in longer[0, 3:12]
        longer = model.generate([prompt], eos_token_id=end, max_new_tokens=30, min_new_tokens=12)
        assert end not in longer[0, 3:15]

    def test_time_is_up_after_the_token_that_was_begun(self, model):
        arguments = {"max_new_tokens": 50, "eos_token_id": None}
        assert model.generate([[1, 2]], max_time=0.0, **arguments).shape == (1, 3)
        assert model.generate([[1, 2]], max_time=600, **arguments).shape == (1, 52)
        beams = model.generate([[1, 2]], max_time=0.0, num_beams=3, **arguments)
        assert beams.shape == (1, 3)

    def test_stop_strings_end_each_sequence_by_itself(self, embedded_export):
        model = GPTNeoForCausalLM.from_pretrained(embedded_export)
        tokenizer = Tokenizer.from_pretrained(embedded_export)
        tokenizer.pad_token = tokenizer.eos_token
        texts = ["She was", "It is a truth universally", "Sir"]
        inputs = tokenizer(texts, padding=True, padding_side="left", return_tensors="np")
        arguments = {"stop_strings": [" the", "."], "tokenizer": tokenizer, "max_new_tokens": 40}
        for row, ids in enumerate(model.generate(**inputs, **arguments)):
            text = tokenizer.decode(ids[inputs["input_ids"].shape[1] :], True)
            assert text.rstrip(" \n").endswith((" the", ".")), row
            assert " the " not in text

    def test_several_end_tokens(self, model, oracle):
        prompt = np.array([5, 6])
        expected = oracle_greedy(oracle, prompt, 10)
        result = model.generate([prompt], eos_token_id=[300, expected[4]], max_new_tokens=10)
        assert result[0, 2:].tolist() == expected[: expected.index(expected[4]) + 1]


def test_inputs_is_another_name_of_input_ids(model):
    by_name = model.generate(inputs=[[1, 2]], max_new_tokens=3)
    assert by_name.tolist() == model.generate([[1, 2]], max_new_tokens=3).tolist()
    with pytest.raises(InputError, match="takes input_ids, or inputs"):
        model.generate([[1]], inputs=[[2]])


def test_a_call_that_is_refused_leaves_the_running_one_alone(model):
    """Its chunks of the prompt stay as long as they were."""
    refusals, chunks = [], []

    class Interrupting:
        def put(self, ids):
            if refusals:
                return
            decoder = model.engine.decoder(1)
            decoder.prefill_chunk = 3  # as the running call has it
            with pytest.raises(InputError, match="at work in another call") as refusal:
                model.generate([[1]], past_key_values=PromptCache(), max_new_tokens=1)
            refusals.append(refusal)
            chunks.append(decoder.prefill_chunk)

        def end(self):
            pass

    model.generate([[1, 2]], streamer=Interrupting(), prefill_chunk_size=3, max_new_tokens=3)
    assert chunks == [3]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"max_new_tokens": 70}, "max_new_tokens is 70 .* at most 62 can be generated"),
            ({"max_length": 66}, "max_length is 66 .* context of 64"),
            ({"max_length": 3}, "max_length is 3, but the prompt alone has 3 tokens; raise"),
            ({"num_beams": 2.5}, "num_beams is 2.5; a whole number of at least 1 and at most"),
            ({"num_beams": 4, "num_beam_groups": 3}, "num_beams must be a multiple of it"),
            ({"num_beams": 4, "num_beam_groups": 2}, "diversity_penalty is 0.0 and .*; groups nee"),
            ({"num_beams": 2, "num_return_sequences": 3}, "there are only 2 beams; raise num_b"),
            ({"early_stopping": "always"}, "early_stopping is 'always'; True, False or 'never'"),
            ({"early_stopping": 2}, "early_stopping is 2; True, False or 'never'"),
            ({"stop_strings": ["."]}, "there is no tokenizer; pass tokenizer="),
            ({"stop_strings": [".", ""]}, "stop_strings holds ''; texts of at least one char"),
            ({"stop_strings": 3}, "stop_strings holds 3; texts of at least one char"),
            ({"generation_config": {"top_k": 3}}, "generation_config is of type dict; .*from_dict"),
            (
                {"eos_token_id": 2**70},
                "eos_token_id is 1180591620717411303424; a token id is allowed",
            ),
            ({"pad_token_id": 2**63}, "pad_token_id is 9223372036854775808; a token id"),
            (
                {"inputs": [[1]]},
                "takes input_ids, or inputs, which is another name of it; pass one",
            ),
            ({"negative_prompt_attention_mask": [[1]]}, "masks nothing; pass negative_prompt_ids"),
            ({"zzz": 1}, "no argument 'zzz'; it has those of GenerationConfig .docs/generation.md"),
            (
                {"tokenizer": 3},
                "tokenizer is of type int; a directory, a hub id, a path of a tokenizer.json",
            ),
            ({"streamer": 3}, r"streamer is of type int; an object with put\(\) and end\(\)"),
            ({"token_healing": True}, "has no tokenizer; pass tokenizer="),
            (
                {"min_p": 1.5, "do_sample": True},
                "min_p is 1.5; a number of at least 0 and of at most",
            ),
            ({"max_time": "1"}, "max_time is '1'; a number is allowed"),
            (
                {"exponential_decay_length_penalty": 3, "eos_token_id": 1},
                r"penalty is 3; \(start, factor\)",
            ),
            ({"suppress_tokens": ["x"]}, "suppress_tokens is 'x'; a number is allowed"),
            (
                {"output_attentions": True, "return_dict_in_generate": True},
                "output_attentions=True is not supported; leave it at F",
            ),
            ({"penalty_alpha": 0.6}, "penalty_alpha=0.6 is not supported; leave it at None"),
            ({"watermarking_config": 3}, "watermarking_config is of type int; a WatermarkingConf"),
            ({"prompt_lookup_num_tokens": 5, "guidance_scale": 2.0}, "only None is allowed"),
            ({"logits_processor": 7}, "logits_processor is of type int; a list of callables"),
            ({"assistant_model": 7}, "assistant_model is of type int; a GPTNeoForCausalLM is"),
            ({"temprature": 1.0}, "no argument 'temprature'; it has temperature$"),
            (
                {"temperature": 0.0, "do_sample": True, "num_return_sequences": 2},
                "num_return_sequences is 2, but temperature 0 is greedy decoding",
            ),
            ({"temperature": -0.5, "do_sample": True}, "temperature is -0.5; a number above 0"),
            ({"temperature": float("nan"), "do_sample": True}, "temperature is nan"),
            ({"top_k": -1, "do_sample": True}, "top_k is -1; a whole number of at least 1"),
            ({"max_new_tokens": 0}, "max_new_tokens is 0"),
            ({"max_new_tokens": float("inf")}, "max_new_tokens is inf; a whole number"),
            ({"repetition_penalty": -1}, "repetition_penalty is -1"),
            ({"num_return_sequences": 2}, "greedy decoding has one result"),
            (
                {"num_return_sequences": 10**9, "do_sample": True},
                "at least 1 and at most 1024 is allowed",
            ),
            (
                {"temperature": 1e-40, "do_sample": True},
                "a score is .* after the processors: no token can be drawn; raise temperature",
            ),
            ({"seed": -1, "do_sample": True}, "seed is -1"),
            ({"eos_token_id": "x"}, "eos_token_id is 'x'; a token id"),
        ],
    )
    def test_arguments(self, model, arguments, message):
        with pytest.raises(InputError, match=message):
            model.generate([[1, 2, 3]], **arguments)

    @pytest.mark.parametrize(
        ("ids", "mask", "message"),
        [
            ([[]], None, r"shape \[1, 0\]; .* at least one token"),
            ([1, 2], None, r"shape \[2\]; \[batch, sequence\]"),
            ([[1, 2], [3]], None, "rows of different lengths; pad them on the left"),
            ([[1.5]], None, "of type float64; whole numbers"),
            ([[301]], None, "token id 301 of input_ids is out of range; 0 to 300"),
            ([[-1]], None, "token id -1 of input_ids is out of range"),
            (
                [[1] * 64],
                None,
                "prompt has 64 tokens and .* context is 64: by default none is added",
            ),
            ([[1] * 65], None, "sequence 0 of input_ids has 65 tokens, the model's context 64"),
            ([[1, 2, 3]], [[0, 0, 0]], "leaves no token of sequence 0"),
            ([[1, 2, 3]], [[1, 1, 0]], "padded on the right; to generate, pad on the left"),
            ([[1, 2, 3]], [[1, 1]], r"attention_mask has shape \[1, 2\], input_ids \[1, 3\]"),
            ([[1, 2, 3]], [[2, 1, 1]], "other numbers than 0 and 1"),
        ],
    )
    def test_ids_and_masks(self, model, ids, mask, message):
        with pytest.raises(InputError, match=message):
            model.generate(ids, mask)

    def test_holes_past_the_window(self, model):
        ids, mask = [[1, 2, 3, 4]], [[1, 0, 1, 1]]
        message = (
            "attention_mask of sequence 0 has holes, and with 6 new tokens the sequence reaches "
            "past the window of 5 columns that local layers see; take the masked tokens out, or "
            "generate at most 2 tokens"
        )
        with pytest.raises(InputError, match=message):
            model.generate(ids, mask, max_new_tokens=6)
        model.generate(ids, mask, max_new_tokens=2)
        with pytest.raises(InputError, match="take the masked tokens out$"):
            model.generate([[1] * 7], [[1, 0, *[1] * 5]], max_new_tokens=1)

    def test_the_last_token_is_not_read_and_may_lie_past_the_context(self, model):
        full = model.generate([[1] * 64], max_new_tokens=1, eos_token_id=None)
        assert full.shape == (1, 65)
        for arguments in ({}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 4}):
            output = model.generate([[1] * 60], max_new_tokens=5, eos_token_id=None, **arguments)
            assert output.shape == (1, 65)
        with pytest.raises(InputError, match="at most 1 can be generated"):
            model.generate([[1] * 64], max_new_tokens=2)

    def test_without_a_prompt_the_first_token_begins(self, model):
        model.generation_config.bos_token_id = 7
        arguments = {"max_new_tokens": 4, "eos_token_id": None}
        assert model.generate(**arguments).tolist() == model.generate([[7]], **arguments).tolist()
        model.generation_config.bos_token_id = None
        with pytest.raises(InputError, match="no input_ids, and the model has no bos_token_id"):
            model.generate()

    def test_padding_may_hold_any_id(self, model):
        masked = model.generate([[-100, 1, 2]], [[0, 1, 1]], max_new_tokens=3, eos_token_id=None)
        alone = model.generate([[1, 2]], max_new_tokens=3, eos_token_id=None)
        assert masked[0, 3:].tolist() == alone[0, 2:].tolist()

    def test_positions_out_of_range(self, model):
        with pytest.raises(InputError, match="position_ids reach from 0 to 64; 0 to 63"):
            model([[1, 2]], position_ids=[[0, 64]])

    def test_slots(self, directory):
        with pytest.raises(InputError, match="slots is 0; a whole number of at least 1"):
            GPTNeoForCausalLM.from_pretrained(directory, slots=0)


def test_a_generation_config_takes_the_place_of_the_models_own(model):
    config = GenerationConfig(max_new_tokens=4)
    assert model.generate([[1, 2]], generation_config=config).shape == (1, 6)
    longer = model.generate([[1, 2]], generation_config=config, max_new_tokens=6)
    assert longer.shape == (1, 8)


class Recorder:
    def __init__(self) -> None:
        self.received: list[np.ndarray] = []
        self.has_ended = False

    def put(self, ids):
        self.received.append(ids)

    def end(self):
        self.has_ended = True


def test_a_streamer_gets_the_prompt_then_each_token_then_the_end(model):
    recorder = Recorder()
    result = model.generate([[1, 2, 3]], streamer=recorder, max_new_tokens=5, eos_token_id=None)
    assert recorder.received[0].tolist() == [[1, 2, 3]]
    assert [ids.shape for ids in recorder.received[1:]] == [(1,)] * 5
    assert np.concatenate([ids.ravel() for ids in recorder.received]).tolist() == result[0].tolist()
    assert recorder.has_ended


def test_ids_of_one_text_need_a_batch(model):
    message = r"input_ids has shape \[3\]; \[batch, sequence\] is expected: pass \[input_ids\], or"
    with pytest.raises(InputError, match=message):
        model.generate([1, 2, 3])


def test_a_streamer_takes_one_sequence(model):
    with pytest.raises(InputError, match="a streamer takes one sequence, and there are 2"):
        model.generate([[1], [2]], streamer=Recorder())


def test_a_step_that_fails_says_where_and_what_to_try(model, monkeypatch):
    decoder = model.engine.decoder(slots=1)
    decoder.decode(np.array([1]), np.array([True]))

    class FailingSession(Session):
        def run(self, binding):
            raise RuntimeError("CUDA out of memory\nand a stack trace")

    failing = FailingSession(decoder.session.inference, decoder.device)
    monkeypatch.setattr(decoder._decode_step, "session", failing)
    with pytest.raises(DeviceError, match="1 sequences failed on cpu: CUDA out of memory; try"):
        decoder.decode(np.array([1]), np.array([True]))


def test_an_end_token_beyond_the_vocabulary_never_comes(model):
    result = model.generate([[1, 2]], eos_token_id=50256, min_length=5, max_new_tokens=8)
    assert result.shape == (1, 10)


def test_columns_of_padding_alone_take_no_room(model):
    ids, mask = np.ones((1, 80), int), np.zeros((1, 80), int)
    mask[0, -3:] = 1
    padded = model.generate(ids, mask, max_new_tokens=50, eos_token_id=None)
    alone = model.generate([[1, 1, 1]], max_new_tokens=50, eos_token_id=None)
    assert padded[0, 80:].tolist() == alone[0, 3:].tolist()


class TestOneCallAtATime:
    def test_a_streamer_that_generates_is_refused_and_the_model_goes_on(self, model):
        class Nested(Recorder):
            def put(self, ids):
                model.generate([[1]], max_new_tokens=1)

        streamer = Nested()
        with pytest.raises(InputError, match="at work in another call; wait for it, or load"):
            model.generate([[1, 2]], streamer=streamer, max_new_tokens=3)
        assert streamer.has_ended
        assert model.generate([[1, 2]], max_new_tokens=3, eos_token_id=None).shape == (1, 5)


class TestSlots:
    def test_slots_that_do_not_exist_are_refused(self, model):
        decoder = model.engine.decoder(slots=1)
        with pytest.raises(InputError, match="slots 0 to 63 were asked for; 0 to 0 exist"):
            decoder.decode(np.ones(64, np.int64), np.ones(64, bool))

    def test_tokens_beyond_the_capacity_are_refused(self, model):
        decoder = model.engine.decoder(slots=1)
        decoder.cache.clear(0)
        decoder.prefill(0, np.ones(60, np.int64))
        with pytest.raises(InputError, match="5 tokens cannot follow the 60 of slot 0; 1 to 4 can"):
            decoder.prefill(0, np.ones(5, np.int64))


def test_a_passed_config_keeps_the_models_end_token(model, oracle):
    prompt = np.array([1, 2, 3])
    end = oracle_greedy(oracle, prompt, 1)[0]
    model.generation_config = GenerationConfig(eos_token_id=end)
    result = model.generate([prompt], generation_config=GenerationConfig(max_new_tokens=9))
    assert result.shape == (1, 4)


def test_padding_is_inferred_where_it_is_no_end_token(model):
    padded = model.generate([[9, 9, 1, 2]], pad_token_id=9, max_new_tokens=3, eos_token_id=[0])
    alone = model.generate([[1, 2]], max_new_tokens=3, eos_token_id=[0])
    assert padded[0, 4:].tolist() == alone[0, 2:].tolist()
