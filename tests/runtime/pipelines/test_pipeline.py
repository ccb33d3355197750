"""pipeline("text-generation"): the model card's example, and arguments that users pass."""

import json
import shutil

import numpy as np
import pytest

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError, ModelFileError
from gptneo_onnx.runtime import (
    GenerationConfig,
    GPTNeoForCausalLM,
    TextStreamer,
    Tokenizer,
    pipeline,
    set_seed,
)


@pytest.fixture(scope="module")
def generator(embedded_export):
    return pipeline("text-generation", model=embedded_export)


def test_the_model_cards_example(embedded_export):
    DIR = embedded_export  # noqa: N806
    generator = pipeline("text-generation", model=DIR)
    [result] = generator("EleutherAI has", do_sample=True, min_length=50)
    assert list(result) == ["generated_text"]
    assert result["generated_text"].startswith("EleutherAI has")


def test_every_run_differs_unless_seeded(generator):
    texts = {generator("She", max_new_tokens=20)[0]["generated_text"] for _ in range(3)}
    assert len(texts) == 3
    set_seed(1)
    first = generator("She", max_new_tokens=20)
    set_seed(1)
    assert generator("She", max_new_tokens=20) == first


def test_several_prompts_are_as_if_each_came_alone(generator):
    prompts = ["She", "It is a truth universally", "Sir"]
    arguments = {"max_new_tokens": 15, "seed": 4}
    together = generator(prompts, **arguments)
    assert together == [generator(prompt, **arguments) for prompt in prompts]
    assert list(generator(iter(prompts), **arguments)) == together


def test_several_results_per_prompt(generator):
    results = generator("She", max_new_tokens=15, num_return_sequences=3)
    assert len({result["generated_text"] for result in results}) == 3


def test_return_full_text(generator):
    arguments = {"max_new_tokens": 10, "do_sample": False}
    full = generator("She was", **arguments)[0]["generated_text"]
    new = generator("She was", return_full_text=False, **arguments)[0]["generated_text"]
    assert full == "She was" + new


def test_max_length_lifts_the_default_number_of_new_tokens(generator):
    ids = generator.tokenizer.encode(generator("She was", max_length=12)[0]["generated_text"])
    assert len(ids) <= 12


def test_default_length_is_cut_to_the_context(generator):
    prompt = "and so " * 225
    assert len(generator.tokenizer.encode(prompt)) > 512 - 256
    generator(prompt)


def test_a_streamer_sees_the_text(generator, capsys):
    streamer = TextStreamer(generator.tokenizer)
    result = generator("She was", max_new_tokens=12, streamer=streamer)
    assert capsys.readouterr().out == result[0]["generated_text"] + "\n"


def test_a_loaded_model_and_its_tokenizer(embedded_export):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    generator = pipeline(
        "text-generation", model=model, tokenizer=Tokenizer.from_pretrained(embedded_export)
    )
    assert generator("She", max_new_tokens=3)
    with pytest.raises(InputError, match="pass tokenizer="):
        pipeline("text-generation", model=model)


def test_default_arguments_for_every_call(embedded_export):
    generator = pipeline("text-generation", model=embedded_export, max_new_tokens=5, seed=2)
    assert generator("She") == generator("She")


def test_task_specific_params_as_eleutherai_sets_them(tmp_path):
    shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint/config.json").read_text())
    task = {"do_sample": True, "max_length": 50, "temperature": 0.9}
    config["task_specific_params"] = {"text-generation": task}
    (tmp_path / "checkpoint/config.json").write_text(json.dumps(config))
    generator = pipeline(
        "text-generation", model=export_model(tmp_path / "checkpoint", tmp_path / "out")
    )
    assert generator.generation_config.temperature == 0.9
    assert generator.generation_config.max_length == 50


def test_return_tensors(generator):
    [result] = generator("She was", max_new_tokens=9, do_sample=False, return_tensors=True)
    text = generator("She was", max_new_tokens=9, do_sample=False)[0]["generated_text"]
    assert list(result) == ["generated_token_ids"]
    assert generator.tokenizer.decode(result["generated_token_ids"], True) == text


def test_a_prefix_is_read_but_not_returned(generator):
    arguments = {"max_new_tokens": 12, "do_sample": False}
    together = generator("Emma Woodhouse, handsome", **arguments)[0]["generated_text"]
    [result] = generator(" handsome", prefix="Emma Woodhouse,", **arguments)
    assert "Emma Woodhouse," + result["generated_text"] == together


@pytest.mark.parametrize("number", [int, np.int64])
def test_a_prefix_does_not_count(generator, number):
    arguments = {"max_length": number(20), "return_tensors": True, "eos_token_id": None}
    plain = generator("She was", **arguments)
    prefixed = generator("She was", prefix="Oh! ", **arguments)
    extra = len(generator.tokenizer.encode("Oh! "))
    assert len(plain[0]["generated_token_ids"]) == 20
    assert len(prefixed[0]["generated_token_ids"]) == 20 + extra


def test_long_prompts_are_cut_on_the_left_where_asked_for(generator):
    prompt = "and so on " * 300 + "she said"
    [result] = generator(
        prompt, handle_long_generation="hole", max_new_tokens=30, return_tensors=True
    )
    assert len(result["generated_token_ids"]) <= 512
    kept = generator.tokenizer.encode(prompt)[-(512 - 30) :]
    assert result["generated_token_ids"][: len(kept)] == kept
    [text] = generator(prompt, handle_long_generation="hole", max_new_tokens=30)
    assert text["generated_text"].startswith(prompt)


def test_prompts_in_batches_are_as_if_each_came_alone(generator):
    prompts = ["She", "It is a truth universally", "Sir", "Anne Elliot was", "\n"]
    arguments = {"max_new_tokens": 15, "seed": 4, "num_return_sequences": 2, "pad_token_id": 7}
    alone = generator(prompts, **arguments)
    for batch_size in (2, 5, 100):
        assert generator(prompts, batch_size=batch_size, **arguments) == alone


@pytest.mark.slow
def test_the_default_length_of_a_prompt_does_not_depend_on_its_batch(generator):
    """256 tokens follow a short prompt, and as many as fit a long one."""
    prompts = ["She", "and so " * 225, "Sir"]
    arguments = {"seed": 3, "eos_token_id": None, "return_tensors": True}
    alone = generator(prompts, **arguments)
    assert generator(prompts, batch_size=3, **arguments) == alone
    lengths = [len(results[0]["generated_token_ids"]) for results in alone]
    assert lengths[1] == 512
    assert lengths[::2] == [len(generator.tokenizer.encode(prompts[i])) + 256 for i in (0, 2)]


@pytest.mark.parametrize(
    "arguments",
    [{"seed": 5}, {"seed": list(range(8))}, {"num_return_sequences": 2, "seed": 5}, {}],
    ids=str,
)
def test_sampled_results_do_not_depend_on_batch_size(generator, arguments):
    prompts = ["She", "Sir", "She", "She", "Anne", "Sir", "Oh", "Oh"]
    found = []
    for batch_size in (1, 3, 8):
        set_seed(7)
        found.append(generator(prompts, batch_size=batch_size, max_new_tokens=9, **arguments))
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][2] != found[0][3]


def test_seeds_that_are_too_few_are_refused(generator):
    with pytest.raises(InputError, match="seed has 2 numbers, and there are more results"):
        generator(["She", "Sir", "Oh"], seed=[1, 2], max_new_tokens=2)


@pytest.fixture
def opinionated(embedded_export):
    """A pipeline of a model whose own config differs from every default."""
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    model.generation_config = model.generation_config.updated(
        do_sample=True, num_beams=2, max_new_tokens=3, num_return_sequences=2, top_k=4
    )
    return pipeline(model=model, tokenizer=Tokenizer.from_pretrained(embedded_export))


def test_what_a_call_asks_for_wins_over_the_models_config_even_if_it_is_a_default(
    opinionated, generator
):
    asked = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "max_length": 12}
    assert opinionated("She was", **asked) == generator("She was", **asked)
    defaults = pipeline(model=opinionated.model, tokenizer=opinionated.tokenizer, **asked)
    assert defaults("She was") == generator("She was", **asked)
    assert len(opinionated("She was")) == 2


def test_a_config_given_to_a_call_is_combined_with_the_models(opinionated):
    results = opinionated(
        "She was", generation_config=GenerationConfig(temperature=0.5), return_tensors=True
    )
    assert len(results) == 2
    width = len(opinionated.tokenizer.encode("She was"))
    assert {len(result["generated_token_ids"]) - width for result in results} <= {1, 2, 3}
    with pytest.raises(InputError, match="generation_config is of type dict; a Gen.*from_dict"):
        opinionated("She was", generation_config={"temperature": 0.5})


def test_a_healed_prompt_loses_no_text(generator):
    arguments = {"max_new_tokens": 8, "do_sample": False, "token_healing": True}
    prompts = ["It is a truth univer", "I am sorr", "said Mr. Dar ", "She was"]
    for batch_size in (1, 4):
        results = generator(prompts, batch_size=batch_size, **arguments)
        for prompt, [result], healed in zip(
            prompts, results, ["univers", "sorry", "Dar", "was"], strict=True
        ):
            inputs = generator.tokenizer(prompt, return_tensors="np")
            expected = generator.model.generate(
                **inputs, tokenizer=generator.tokenizer, **arguments
            )
            text = generator.tokenizer.decode(expected[0], True, True)
            assert result["generated_text"] == text
            assert text.startswith(prompt.rsplit(" ", 1)[0] if prompt[-1] != " " else "said Mr.")
            assert healed in text
    [new] = generator("I am sorr", return_full_text=False, **arguments)
    assert ("I am sorr" + new["generated_text"]) == results[1][0]["generated_text"]


def test_a_generator_is_read_as_its_results_are_asked_for(generator):
    read = []

    def prompts():
        for prompt in ("She", "Sir", "Anne", "Oh"):
            read.append(prompt)
            yield prompt

    results = generator(prompts(), max_new_tokens=3, batch_size=2)
    assert read == []
    assert next(results)[0]["generated_text"].startswith("She")
    assert read == ["She", "Sir"]
    assert len(list(results)) == 3


def test_stop_strings_need_no_tokenizer_here(generator):
    [result] = generator("She was", max_new_tokens=200, stop_strings=[".", "!"], do_sample=False)
    assert result["generated_text"].rstrip()[-1] in ".!"
    assert not set(".!") & set(result["generated_text"][:-2])


def test_a_stop_sequence_makes_end_tokens(generator):
    [result] = generator("She was", max_new_tokens=200, stop_sequence=" to", do_sample=False)
    assert result["generated_text"].endswith(" to")


def test_special_tokens_can_be_kept(generator):
    arguments = {"max_new_tokens": 1, "forced_eos_token_id": 0}
    assert generator("She", **arguments)[0]["generated_text"] == "She"
    [kept] = generator("She", skip_special_tokens=False, **arguments)
    assert kept["generated_text"] == "She<|endoftext|>"


def test_beams_bring_their_scores_where_asked_for(generator):
    results = generator(
        "She was",
        do_sample=False,
        num_beams=3,
        num_return_sequences=2,
        max_new_tokens=8,
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert results[0]["sequences_scores"] >= results[1]["sequences_scores"]


def test_an_assistant_changes_no_result(embedded_export, generator):
    arguments = {"max_new_tokens": 40, "seed": 8}
    assisted = pipeline("text-generation", embedded_export, assistant_model=embedded_export)
    assert assisted("She was", **arguments) == generator("She was", **arguments)


@pytest.mark.parametrize(("device", "name"), [(-1, "cpu"), ("cpu", "cpu")])
def test_devices_as_transformers_numbers_them(embedded_export, device, name):
    generator = pipeline("text-generation", model=embedded_export, device=device)
    assert generator.model.device.type == name


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"batch_size": 0}, "batch_size is 0; a whole number of at least 1"),
            ({"handle_long_generation": "cut"}, "generation is 'cut'; None or 'hole' is allowed"),
            ({"prefix": 3}, "prefix is 3; a text is allowed"),
            ({"return_tensors": True, "return_full_text": True}, "return_tensors returns ids"),
            (
                {"handle_long_generation": "hole", "max_new_tokens": 512},
                "512 new tokens are wanted of a context of 512: no prompt can be cut",
            ),
        ],
    )
    def test_the_pipelines_own_arguments(self, generator, arguments, message):
        with pytest.raises(InputError, match=message):
            generator("She", **arguments)

    @pytest.mark.parametrize("device", [-2, 1.5, True])
    def test_a_device_that_is_none(self, embedded_export, device):
        with pytest.raises(InputError, match=f"device is {device}; a GPU's number, -1, or a name"):
            pipeline("text-generation", model=embedded_export, device=device)

    def test_an_empty_prompt_needs_a_first_token(self, embedded_export):
        generator = pipeline("text-generation", model=embedded_export, bos_token_id=None)
        with pytest.raises(InputError, match=r"the prompt is empty, .* or <\|endoftext\|>"):
            generator("")

    def test_a_prompt_longer_than_the_context(self, generator):
        with pytest.raises(
            InputError, match="sequence 0 of input_ids has .* tokens, the model's context 512"
        ):
            generator("and so on " * 500)

    def test_too_many_new_tokens(self, generator):
        with pytest.raises(InputError, match="max_new_tokens is 513 .* at most 51. can be"):
            generator("She", max_new_tokens=513)

    def test_an_unknown_argument(self, generator):
        with pytest.raises(InputError, match="no argument 'max_tokens'"):
            generator("She", max_tokens=3)

    @pytest.mark.parametrize("prompts", [{"text": "She"}, b"She", 3])
    def test_prompts_of_another_kind(self, generator, prompts):
        with pytest.raises(InputError, match="prompts are of type .*; a text or several are exp"):
            generator(prompts)

    def test_a_prompt_that_is_no_text(self, generator):
        with pytest.raises(InputError, match="a prompt is of type int; a text is expected"):
            generator([3])

    def test_a_prompt_that_is_no_unicode(self, generator):
        with pytest.raises(InputError, match="cannot be encoded as UTF-8"):
            generator("\ud800")

    def test_another_task(self, embedded_export):
        with pytest.raises(InputError, match="task is 'translation'; one of text-generation, feat"):
            pipeline("translation", model=embedded_export)

    def test_a_checkpoint_that_must_not_be_exported(self):
        message = f"gptneo-onnx export {EMBEDDED_CHECKPOINT} OUT"
        with pytest.raises(InputError, match=message):
            pipeline("text-generation", model=EMBEDDED_CHECKPOINT, export=False)

    def test_a_hub_id_that_is_not_in_the_cache(self):
        with pytest.raises(InputError, match="neither a directory nor in the cache"):
            pipeline("text-generation", model="EleutherAI/gpt-neo-1.3B")

    def test_a_model_without_a_tokenizer(self, export_shape):
        with pytest.raises(ModelFileError, match=r"has no tokenizer.json: pass token ids"):
            pipeline("text-generation", model=export_shape())


@pytest.mark.parametrize("form", [str, lambda directory: directory, Tokenizer.from_pretrained])
def test_a_tokenizer_is_a_directory_or_one_of_ours(embedded_export, form):
    arguments = {"max_new_tokens": 5, "do_sample": False}
    expected = pipeline(model=embedded_export)("She was", **arguments)
    generator = pipeline(model=embedded_export, tokenizer=form(EMBEDDED_CHECKPOINT))
    assert generator("She was", **arguments) == expected


@pytest.mark.parametrize("task", ["text-generation", "feature-extraction"])
@pytest.mark.parametrize("wrong", [3, object(), "not there"])
def test_another_tokenizer_is_refused_at_once(embedded_export, task, wrong):
    with pytest.raises(InputError, match="tokenizer is .*; "):
        pipeline(task, model=embedded_export, tokenizer=wrong)


def only(*tokens):
    """A processor that has these tokens follow each other."""
    left = iter(tokens)

    def process(input_ids, scores):
        token = next(left)
        return np.where(np.arange(scores.shape[1]) == token, 0, -np.inf).astype(np.float32)[None]

    return process


@pytest.mark.parametrize(
    ("prompt", "new", "expected"),
    [
        ("Wait ", ".", "."),
        ("Wait", " .", "."),
        ("Wait  ", "! She", "! She"),
        ("She did n", "'t", "'t"),
        ("I do ", "n't .", "n't."),
        ("Wait .", " She", " She"),
        ("Wait ", "She ,", "She,"),
    ],
)
def test_no_new_text_is_lost_to_the_cleaning_up(generator, prompt, new, expected):
    tokens = generator.tokenizer.encode(new)
    arguments = {"max_new_tokens": len(tokens), "do_sample": False}

    def continued(**others):
        [result] = generator(prompt, logits_processor=[only(*tokens)], **arguments, **others)
        return result["generated_text"]

    assert continued(return_full_text=False) == expected
    assert continued() == prompt + expected
    kept = continued(return_full_text=False, clean_up_tokenization_spaces=False)
    assert kept == new
