"""Chats become the texts, tokens and answers that transformers makes of them."""

import json

import numpy as np
import pytest
from chat_templates import CHATS, STRICT, TALK, TEMPLATES

from gptneo_onnx.export import export_model
from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import Tokenizer, pipeline

DRAWS = 300
TOOL = {"type": "function", "function": {"name": "add", "description": "1 < 2 \u00e9"}}


@pytest.fixture(autouse=True)
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    return transformers


@pytest.fixture
def both(transformers, embedded_checkpoint):
    theirs = transformers.AutoTokenizer.from_pretrained(embedded_checkpoint)
    ours = Tokenizer.from_pretrained(embedded_checkpoint)
    for each in (theirs, ours):
        each.pad_token = each.eos_token
    return theirs, ours


def plain(value):
    if hasattr(value, "items"):
        return {name: plain(each) for name, each in value.items() if name != "token_type_ids"}
    return value if isinstance(value, str | list) else np.asarray(value).tolist()


def drawn_call(random):
    def choice(*values):
        return values[random.integers(len(values))]

    call = {
        "add_generation_prompt": choice(True, False),
        "continue_final_message": choice(True, False, False),
        "tokenize": choice(True, True, False),
        "padding": choice(False, True, "max_length"),
        "truncation": choice(False, True),
        "max_length": choice(None, 9, 30),
        "return_tensors": choice(None, None, "np"),
        "return_dict": choice(True, False),
        "return_assistant_tokens_mask": choice(True, False),
        "tools": choice(None, None, [TOOL]),
        "documents": choice(None, [{"title": "a", "text": "b"}]),
        "mood": choice("glad", "sad"),
    }
    return {name: value for name, value in call.items() if random.random() < 0.5}


def test_drawn_calls(both, random):
    theirs, ours = both
    names, answered, refused = [*TEMPLATES], 0, 0
    for _ in range(DRAWS):
        theirs.chat_template = ours.chat_template = TEMPLATES[names[random.integers(len(names))]]
        chat = CHATS[random.integers(len(CHATS))]
        if random.random() < 0.4:
            chat = [chat, CHATS[random.integers(len(CHATS))]]
        call = drawn_call(random)
        try:
            expected = theirs.apply_chat_template(chat, **call)
            if call.get("return_tensors") and call.get("tokenize", True):
                rows = expected["input_ids"] if call.get("return_dict") else expected
                assert rows.dtype == np.int64  # lists in an array otherwise
        except Exception:
            refused += 1
            with pytest.raises(InputError):
                ours.apply_chat_template(chat, **call)
            continue
        answered += 1
        found = ours.apply_chat_template(chat, **call)
        assert plain(found) == plain(expected), (chat, call)
    assert answered > DRAWS // 3
    assert refused > 10


FILES = {
    "config": {"tokenizer_config.json": STRICT},
    "file": {"chat_template.jinja": STRICT},
    "both": {"chat_template.jinja": STRICT, "tokenizer_config.json": "{{ 1 }}"},
    "named": {
        "tokenizer_config.json": [
            {"name": "default", "template": STRICT},
            {"name": "tool_use", "template": "{{ 2 }}"},
        ]
    },
    "files": {
        "chat_template.jinja": STRICT,
        "additional_chat_templates/tool_use.jinja": "{{ 3 }}",
        "tokenizer_config.json": "{{ 1 }}",
    },
    "no default": {"additional_chat_templates/rag.jinja": "{{ 3 }}"},
}


def write(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".json":
            config = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(config | {"chat_template": content}))
        else:
            path.write_text(content)


@pytest.mark.parametrize("files", FILES.values(), ids=FILES.keys())
def test_templates_are_read_and_exported(transformers, embedded_checkpoint, tmp_path, files):
    write(embedded_checkpoint, files)
    out = export_model(embedded_checkpoint, tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(embedded_checkpoint)
    for directory in (embedded_checkpoint, out):
        for each in (
            transformers.AutoTokenizer.from_pretrained(directory),
            Tokenizer.from_pretrained(directory),
        ):
            assert each.chat_template == theirs.chat_template
            for tools in (None, [TOOL]):
                try:
                    expected = theirs.apply_chat_template(TALK, tools=tools)
                except ValueError:
                    with pytest.raises(ValueError, match="template"):
                        each.apply_chat_template(TALK, tools=tools)
                else:
                    assert each.apply_chat_template(TALK, tools=tools) == expected
    assert Tokenizer.coerce(theirs).chat_template == theirs.chat_template
    ours = Tokenizer.from_pretrained(out)
    ours.save_pretrained(tmp_path / "saved")
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert saved.chat_template == theirs.chat_template


@pytest.fixture
def pipelines(transformers, embedded_checkpoint, tmp_path):
    write(embedded_checkpoint, FILES["file"])
    out = export_model(embedded_checkpoint, tmp_path / "out")
    theirs = transformers.pipeline("text-generation", model=str(embedded_checkpoint))
    return theirs, pipeline("text-generation", model=out)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"return_full_text": False},
        {"return_tensors": True},
        {"continue_final_message": True},
        {"continue_final_message": False},
        {"skip_special_tokens": False},
        {"num_beams": 2, "num_return_sequences": 2},
        {"batch_size": 2},
        {"tokenizer_encode_kwargs": {"chat_template": "{{ messages[0].content }}"}},
    ],
    ids=str,
)
def test_pipelines_answer_chats(pipelines, arguments):
    theirs, ours = pipelines
    theirs.tokenizer.pad_token = theirs.tokenizer.eos_token
    theirs.tokenizer.padding_side = "left"
    call = {"max_new_tokens": 6, "do_sample": False, **arguments}
    for chats in (CHATS[1], [CHATS[0], CHATS[2]]):
        try:
            expected = theirs(chats, **call)
        except ValueError:  # the template leaves out the message to be continued
            with pytest.raises(InputError):
                ours(chats, **call)
            continue
        assert ours(chats, **call) == expected


def test_pipelines_answer_an_iterator_of_chats(pipelines):
    call = {"max_new_tokens": 6, "do_sample": False}
    theirs, ours = ([*each((chat for chat in CHATS[:3]), **call)] for each in pipelines)
    assert ours == theirs


def test_what_pipelines_refuse(pipelines):
    for each in pipelines:
        for wrong in ([{"role": "user"}], [[{"content": "a"}]]):
            with pytest.raises(ValueError, match="role"):
                each(wrong)
        with pytest.raises(Exception, match="Roles must alternate"):
            each([{"role": "assistant", "content": "a"}, *TALK])
        each.tokenizer.chat_template = None
        with pytest.raises(ValueError, match="template"):
            each(TALK)
