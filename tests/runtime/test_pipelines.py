"""pipeline("text-generation"): the model card's example and what people pass to it."""

import json
import shutil

import pytest

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError, ModelFileError
from gptneo_onnx.runtime import (
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
    assert generator(iter(prompts), **arguments) == together


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


class TestBadInput:
    @pytest.mark.parametrize("prompt", ["", [""]])
    def test_an_empty_prompt(self, generator, prompt):
        with pytest.raises(InputError, match=r"the prompt is empty; .* or <\|endoftext\|>"):
            generator(prompt)

    def test_a_prompt_longer_than_the_context(self, generator):
        with pytest.raises(InputError, match="sequence 0 has .* tokens, the model's context 512"):
            generator("and so on " * 500)

    def test_too_many_new_tokens(self, generator):
        with pytest.raises(InputError, match="max_new_tokens is 512 .* at most 51. can be"):
            generator("She", max_new_tokens=512)

    def test_an_unknown_argument(self, generator):
        with pytest.raises(InputError, match="no argument 'max_tokens'"):
            generator("She", max_tokens=3)

    def test_a_prompt_that_is_no_text(self, generator):
        with pytest.raises(InputError, match="a prompt is of type int; a text is expected"):
            generator([3])

    def test_a_prompt_that_is_no_unicode(self, generator):
        with pytest.raises(InputError, match="cannot be encoded as UTF-8"):
            generator("\ud800")

    def test_another_task(self, embedded_export):
        with pytest.raises(InputError, match="task is 'translation'; text-generation is allowed"):
            pipeline("translation", model=embedded_export)

    @pytest.mark.parametrize("model", [EMBEDDED_CHECKPOINT, "EleutherAI/gpt-neo-1.3B"])
    def test_a_model_that_was_not_exported(self, model):
        with pytest.raises(InputError, match=f"gptneo-onnx export {model} OUT"):
            pipeline("text-generation", model=model)

    def test_a_model_without_a_tokenizer(self, export_shape):
        with pytest.raises(ModelFileError, match=r"has no tokenizer.json: pass token ids"):
            pipeline("text-generation", model=export_shape())
