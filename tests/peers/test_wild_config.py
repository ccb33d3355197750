"""config.json and generation_config.json as people have them, beside transformers.

WILD_SEED=N draws other combinations of forms.
"""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wild_config import FORMS, MODELS, PROMPT, Form, combined, write_form

from gptneo_onnx.export import check_export, export_model
from gptneo_onnx.models import InputError
from gptneo_onnx.models.generation_settings import DEFAULTS, METADATA, TOKEN_NAMES, passed_over
from gptneo_onnx.runtime import GPTNeoForCausalLM

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SEED = int(os.environ.get("WILD_SEED", "0"))
DRAWN = range(30)


def peer(checkpoint: Path) -> Any:
    return transformers.GPTNeoForCausalLM.from_pretrained(checkpoint).eval()


def sequences(output: Any) -> list[list[int]]:
    return getattr(output, "sequences", output).tolist()


def check_same(checkpoint: Path, out: Path, **kwargs: Any) -> None:
    """Hold an export's logits and tokens against transformers' on the same checkpoint."""
    theirs = peer(checkpoint)
    ours = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, out, **kwargs), num_threads=1)
    ids = torch.tensor(PROMPT)
    with torch.no_grad():
        expected = theirs(ids, use_cache=True, return_dict=True).logits.numpy()
    assert np.abs(ours(PROMPT).logits - expected).max() < 1e-4 * expected.std()
    mask = torch.ones_like(ids)
    assert sequences(ours.generate(PROMPT)) == sequences(theirs.generate(ids, attention_mask=mask))


@pytest.mark.parametrize("name", FORMS)
def test_every_form_means_what_it_means_to_transformers(tmp_path, name):
    check_same(write_form(tmp_path / "checkpoint", FORMS[name]), tmp_path / "out")


@pytest.mark.parametrize("name", MODELS)
def test_the_portable_graph_too(tmp_path, name):
    checkpoint = write_form(tmp_path / "checkpoint", MODELS[name], seed=1)
    check_same(checkpoint, tmp_path / "out", graph="portable")


@pytest.mark.parametrize("number", DRAWN)
def test_drawn_combinations_of_forms(tmp_path, number):
    """Combinations that transformers refuses are drawn again."""
    draw = random.Random(f"{SEED} {number}")
    for attempt in range(20):
        names = draw.sample(sorted(FORMS), draw.randint(2, 4))
        form = combined([FORMS[name] for name in names])
        checkpoint = write_form(tmp_path / f"checkpoint{attempt}", form, seed=number)
        try:
            theirs = peer(checkpoint)
            theirs.generate(torch.tensor(PROMPT), attention_mask=torch.ones(1, len(PROMPT[0])))
        except (ValueError, TypeError, IndexError):
            continue
        print(names)
        return check_same(checkpoint, tmp_path / "out")
    raise AssertionError("transformers refused every combination")


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_config_means_the_same_to_transformers(tmp_path, name):
    checkpoint = write_form(tmp_path / "checkpoint", MODELS[name])
    out = export_model(checkpoint, tmp_path / "out")
    read = transformers.GPTNeoConfig.from_pretrained
    found, expected = read(out).to_dict(), read(checkpoint).to_dict()
    for key in ("num_heads", "num_layers", "window_size", "eos_token_id"):
        assert found[key] == expected[key]
    layers = expected["num_layers"]
    assert found["attention_layers"][:layers] == expected["attention_layers"][:layers]


def test_sampled_text_without_top_k(tmp_path):
    """With None, tokens beyond the 50 likeliest are drawn, as transformers does."""
    form = Form(generation={"do_sample": True, "top_k": None, "temperature": 9.0})
    out = export_model(write_form(tmp_path / "checkpoint", form), tmp_path / "out")
    model = GPTNeoForCausalLM.from_pretrained(out, num_threads=1)
    [scores] = model.generate(
        PROMPT, max_new_tokens=1, seed=1, output_scores=True, return_dict_in_generate=True
    ).scores
    theirs = peer(tmp_path / "checkpoint").generate(
        torch.tensor(PROMPT), max_new_tokens=1, output_scores=True, return_dict_in_generate=True
    )
    assert np.isfinite(scores).sum() == np.isfinite(theirs.scores[0].numpy()).sum() == 301
    [scores] = model.generate(
        PROMPT, top_k=50, max_new_tokens=1, output_scores=True, return_dict_in_generate=True
    ).scores
    assert np.isfinite(scores).sum() == 50


@pytest.mark.parametrize(
    "settings",
    [{"penalty_alpha": 0.6}, {"dola_layers": "low"}, {"force_words_ids": [[3]]}],
)
def test_what_transformers_refuses_without_code_of_the_hub(tmp_path, settings):
    checkpoint = write_form(tmp_path / "checkpoint", Form(generation=settings))
    with pytest.raises(ValueError, match="requires `trust_remote_code=True`"):
        peer(checkpoint).generate(torch.tensor(PROMPT), attention_mask=torch.ones(1, 10))
    model = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, tmp_path / "out"))
    [name] = settings
    with pytest.raises(InputError, match=f"pass {name}=None to generate without it"):
        model.generate(PROMPT)
    assert model.generate(PROMPT, **{name: None}).shape == (1, 30)
    (checkpoint / "generation_config.json").write_text("{}")
    again = export_model(checkpoint, tmp_path / "out")
    assert GPTNeoForCausalLM.from_pretrained(again).generate(PROMPT).shape == (1, 30)


def test_every_setting_of_transformers_is_known():
    values = transformers.GenerationConfig().to_dict()
    assert passed_over(values) == []
    for name in DEFAULTS.keys() & values.keys():
        assert values.pop(name) == DEFAULTS[name], name
    assert DEFAULTS.keys().isdisjoint(values)
    config = transformers.PretrainedConfig()
    for name, default in config._get_global_generation_defaults().items():
        assert DEFAULTS[name] == default
    assert {*TOKEN_NAMES, *METADATA[:2]} <= values.keys() | {"_from_model_config"}


@pytest.mark.parametrize("prefix", ["task", "config", "both", "argument"])
def test_a_prefix_is_the_pipelines(embedded_checkpoint, tmp_path, prefix):
    path = embedded_checkpoint / "config.json"
    config = json.loads(path.read_text())
    task = {"max_length": 50, "odd": 3, "do_sample": False}
    if prefix != "config":
        task["prefix"] = "Once upon a time, "
    if prefix in ("config", "both"):
        config["prefix"] = "Sir Walter and "
    config["task_specific_params"] = {"text-generation": task}
    path.write_text(json.dumps(config))
    arguments = {"prefix": "He said that "} if prefix == "argument" else {}
    from gptneo_onnx.runtime import Tokenizer, pipeline

    out = export_model(embedded_checkpoint, tmp_path / "out")
    theirs = transformers.pipeline(
        "text-generation", model=str(embedded_checkpoint), device=-1, **arguments
    )
    model = GPTNeoForCausalLM.from_pretrained(out)
    for ours in (
        pipeline("text-generation", model=out, **arguments),
        pipeline("text-generation", model, Tokenizer.from_pretrained(out), **arguments),
    ):
        assert ours("Anne was", max_new_tokens=12) == theirs("Anne was", max_new_tokens=12)


def test_a_prefix_does_not_count_in_the_models_own_length(embedded_checkpoint, tmp_path):
    from gptneo_onnx.runtime import pipeline

    config = json.loads((embedded_checkpoint / "config.json").read_text()) | {"prefix": "He and "}
    (embedded_checkpoint / "config.json").write_text(json.dumps(config))
    path = embedded_checkpoint / "generation_config.json"
    generation = json.loads(path.read_text()) | {"max_length": 24}
    path.write_text(json.dumps(generation))
    ours = pipeline("text-generation", model=export_model(embedded_checkpoint, tmp_path / "out"))
    theirs = transformers.pipeline("text-generation", model=str(embedded_checkpoint), device=-1)
    assert ours("Anne was", do_sample=False) == theirs("Anne was", do_sample=False)


GENAI = """
import json, sys
import onnxruntime_genai as og
rows = {}
for directory in sys.argv[2:]:
    model = og.Model(directory)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=30)
    generator = og.Generator(model, params)
    generator.append_tokens(json.loads(sys.argv[1]))
    while not generator.is_done():
        generator.generate_next_token()
    rows[directory] = [int(token) for token in generator.get_sequence(0)]
print(json.dumps(rows))
"""
CARRIED = {
    "ids of config.json": Form({"eos_token_id": [231, 116]}, generation={}),
    "null": Form({"eos_token_id": 116}, generation={"eos_token_id": None}),
    "least length": Form(generation={"eos_token_id": [231, 249, 164], "min_length": 14}),
    "penalties": Form(
        {"eos_token_id": 300}, generation={"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}
    ),
    "beams": Form({"eos_token_id": 300}, generation={"num_beams": 3, "length_penalty": 0.5}),
    "sampling": Form(
        {"eos_token_id": 300}, generation={"do_sample": True, "temperature": 1e-3, "top_k": 5}
    ),
    "sampling without top_k": Form(
        {"eos_token_id": 300}, generation={"do_sample": True, "temperature": 1e-3, "top_k": None}
    ),
}


def test_onnxruntime_genai_goes_by_the_checkpoints_settings(tmp_path):
    python = os.environ.get("GPTNEO_ONNX_GENAI")
    if python is None:
        pytest.skip("needs onnxruntime-genai: make test-peers installs it")
    expected = {}
    for name, form in CARRIED.items():
        checkpoint = write_form(tmp_path / f"{name} checkpoint", form, seed=3)
        out = export_model(checkpoint, tmp_path / name, graph="genai")
        end = json.loads((out / "genai_config.json").read_text())["model"]["eos_token_id"]
        ids = torch.tensor(PROMPT)
        theirs = peer(checkpoint).generate(
            ids, attention_mask=torch.ones_like(ids), eos_token_id=end, max_length=30
        )
        row = theirs[0].tolist()
        # onnxruntime-genai leaves the end token out
        ends = end if isinstance(end, list) else [end]
        expected[str(out)] = row[:-1] if row[-1] in ends else row
    done = subprocess.run(
        [Path(python).absolute(), "-c", GENAI, json.dumps(PROMPT[0]), *expected],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


def test_every_entry_of_transformers_config_is_known_to_a_check(tmp_path):
    checkpoint = write_form(tmp_path / "checkpoint", Form(generation={}))
    values = transformers.GPTNeoConfig().to_dict() | transformers.PretrainedConfig().to_dict()
    values |= json.loads((checkpoint / "config.json").read_text()) | {"odd": 1}
    (checkpoint / "config.json").write_text(json.dumps(values))
    assert check_export(checkpoint).unknown_entries == ["odd"]
