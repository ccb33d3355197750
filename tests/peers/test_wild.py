"""Whole directories, every part of them in a form of people's, beside transformers.

--draw-seed fresh draws others; WILD_DRAWS=N draws more.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wild import Wild, draw_wild
from wild_tokenizer import END_OF_TEXT, TEXTS

from gptneo_onnx.export import export_model
from gptneo_onnx.models.generation_settings import DEFAULTS, TOKEN_NAMES, known_tokens
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
DRAWS = int(os.environ.get("WILD_DRAWS", "200"))
GROUPS = 20  # tests that share the draws
CONFIG = ("hidden_size", "num_heads", "num_layers", "window_size", "activation_function")
CONFIG += ("vocab_size", "max_position_embeddings", "tie_word_embeddings", "layer_norm_epsilon")
CONFIG += ("bos_token_id", "eos_token_id", "pad_token_id", "intermediate_size")


@pytest.fixture(autouse=True)
def quiet():
    transformers.logging.set_verbosity_error()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("group", range(GROUPS))
def test_drawn_directories(tmp_path, random, group):
    compared = 0
    for number in range(DRAWS // GROUPS):
        wild = draw_wild(tmp_path / f"{number}", random)
        try:
            if loads_tokenizer(wild):
                check(wild, tmp_path / f"{number}-out", random)
                compared += 1
        except Exception as error:
            raise AssertionError(f"{wild.shape}, {wild.forms}") from error
    assert compared >= 0.6 * (DRAWS // GROUPS)


def loads_tokenizer(wild: Wild) -> bool:
    """Tell whether transformers takes the tokenizer, or finds none; it refuses contradictions."""
    if not {"tokenizer.json", "vocab.json"} & {path.name for path in wild.directory.iterdir()}:
        return True
    try:
        transformers.AutoTokenizer.from_pretrained(wild.directory)
    except (ValueError, TypeError):
        return False
    return True


def check(wild: Wild, out: Path, random: np.random.Generator) -> None:
    theirs = peer(wild)
    graph = ["fused", "portable"][random.integers(2)]
    export_model(wild.directory, out, variant=wild.variant, graph=graph)
    ours = GPTNeoForCausalLM.from_pretrained(out, device="cpu", num_threads=1)
    check_config(wild, out)
    check_generation_config(theirs, out, wild)
    check_logits(theirs, ours, wild, random)
    prompts = [random.integers(1, 200, 9)]
    tokenizers = check_tokenizer(wild, out)
    if tokenizers is not None:
        prompts += [np.array(tokenizers[0].encode(text), np.int64) for text in TEXTS[:2]]
    for prompt in prompts:
        row = check_greedy(theirs, ours, wild, prompt)
        if tokenizers is not None and row is not None:
            both = tokenizers[1].backend.get_vocab().values()
            known = [token for token in row if token in both]
            assert tokenizers[1].decode(known) == tokenizers[0].decode(known)
    check_own_settings(theirs, ours, prompts[0])


def peer(wild: Wild) -> Any:
    """Load the directory itself where transformers finds its weights, else its twin."""
    directory = wild.directory if wild.is_plain else wild.twin
    variant = wild.variant if wild.is_plain else None
    load = transformers.GPTNeoForCausalLM.from_pretrained
    return load(directory, variant=variant, dtype=torch.float32).eval()


def check_config(wild: Wild, out: Path) -> None:
    read = transformers.GPTNeoConfig.from_pretrained
    found, expected = read(out), read(wild.directory)
    for name in CONFIG:
        assert getattr(found, name) == getattr(expected, name), name
    layers = expected.num_layers
    assert found.attention_layers[:layers] == expected.attention_layers[:layers]


def check_generation_config(theirs: Any, out: Path, wild: Wild) -> None:
    """Compare the settings that generate() of transformers goes by, of those that choose tokens."""
    try:
        expected = theirs._prepare_generation_config(None)[0]
    except ValueError:  # it refuses settings that come with code of the hub
        return
    found = transformers.GenerationConfig.from_pretrained(out)
    for name in (*DEFAULTS, *TOKEN_NAMES):
        values = [getattr(each, name, None) for each in (found, expected)]
        if name in TOKEN_NAMES:  # those beyond the vocabulary match no token
            values = [known_tokens(value, wild.shape.vocab_size) for value in values]
        assert values[0] == values[1], name


def check_logits(theirs: Any, ours: Any, wild: Wild, random: np.random.Generator) -> None:
    """Two texts as long as the context, far past most windows."""
    shape = wild.shape
    ids = random.integers(0, shape.vocab_size, (2, shape.max_position_embeddings))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids), return_dict=True).logits.numpy()
    assert np.abs(ours(ids).logits - expected).max() <= 1e-4 * expected.std()


def check_tokenizer(wild: Wild, out: Path) -> tuple[Any, Any] | None:
    """Compare ids and texts; return both tokenizers, or None for a directory without one."""
    if not (out / "tokenizer.json").exists():
        return None
    theirs = transformers.AutoTokenizer.from_pretrained(wild.directory)
    ours = Tokenizer.from_pretrained(out)
    # GPT-2's class adds it to vocabularies without it; here it is left out.
    adds_end = END_OF_TEXT in theirs.get_vocab() and END_OF_TEXT not in ours.backend.get_vocab()
    for text in TEXTS:
        if adds_end and END_OF_TEXT in text:
            continue
        ids = theirs.encode(text)
        assert ours.encode(text) == ids, text
        for skip in (False, True):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
                ids, skip_special_tokens=skip
            )
    return theirs, ours


def check_greedy(theirs: Any, ours: Any, wild: Wild, prompt: Any) -> list[int] | None:
    """Compare greedy tokens; return them; None for a prompt that does not fit the model."""
    context, vocabulary = wild.shape.max_position_embeddings, wild.shape.vocab_size
    room = context - len(prompt)
    if len(prompt) == 0 or room < 1 or max(prompt) >= vocabulary:
        return None
    arguments = {"max_new_tokens": min(8, room), "do_sample": False, "num_beams": 1}
    arguments |= {"eos_token_id": None, "return_dict_in_generate": False, "penalty_alpha": None}
    ids = torch.from_numpy(prompt)[None]
    mask = torch.ones_like(ids)
    expected = theirs.generate(ids, attention_mask=mask, use_cache=True, **arguments).tolist()
    assert ours.generate(prompt[None], **arguments).tolist() == expected
    return expected[0]


def check_own_settings(theirs: Any, ours: Any, prompt: Any) -> None:
    """Compare the tokens that the directory's own settings give, where they are not sampled."""
    settings = theirs.generation_config
    if settings.do_sample:
        return
    ids = torch.from_numpy(prompt)[None]
    try:
        found = theirs.generate(ids, attention_mask=torch.ones_like(ids))
    except (ValueError, TypeError, IndexError):  # transformers refuses it, or the context ends
        return
    expected = getattr(found, "sequences", found).tolist()
    if len(expected[0]) > theirs.config.max_position_embeddings:
        return  # transformers writes one token more: the last one has no position yet
    found = ours.generate(prompt[None])
    assert getattr(found, "sequences", found).tolist() == expected
