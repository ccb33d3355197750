"""Chats: what apply_chat_template and the pipeline make of them, and what they refuse.

tests/peers/test_chat_templates.py holds them against transformers.
"""

import sys

import pytest
from chat_templates import CHATML, GENERATION, STRICT, TALK
from refusals import refused
from wild_tokenizer import write_vocabulary

from gptneo_onnx.export import export_model, set_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError, MissingDependencyError
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime import Tokenizer, pipeline
from gptneo_onnx.runtime.chat_template import _compiled


@pytest.fixture
def files(tmp_path):
    return write_vocabulary(tmp_path / "files")


@pytest.fixture
def tokenizer(files):
    return Tokenizer.from_pretrained(files, chat_template=CHATML)


def test_without_jinja_the_extra_is_named(tokenizer, monkeypatch):
    _compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with refused(MissingDependencyError, r"need jinja2: pip install 'gptneo-onnx\[chat\]'"):
        tokenizer.apply_chat_template(TALK)


def test_without_a_template_the_way_out_is_named(files, embedded_export):
    message = r"has no chat template \(chat_template.jinja, or .*\); pass texts, or chat_template="
    with refused(InputError, message):
        Tokenizer.from_pretrained(files).apply_chat_template(TALK)
    with refused(InputError, message):
        pipeline("text-generation", model=embedded_export)(TALK)


def test_names_of_several_templates_are_told(files):
    tokenizer = Tokenizer.from_pretrained(files)
    tokenizer.chat_template = {"rag": CHATML, "tool_use": STRICT}
    with refused(InputError, "none is default; pass chat_template= one of rag, tool_use"):
        tokenizer.get_chat_template()
    assert tokenizer.get_chat_template("rag") == CHATML
    assert tokenizer.get_chat_template(tools=[]) == STRICT
    assert tokenizer.get_chat_template("{{ 1 }}") == "{{ 1 }}"


@pytest.mark.parametrize("value", [3, [3], [{"name": "a"}], {"a": 3}])
def test_damaged_templates_are_named(files, value):
    with refused(ModelFileError, "chat_template is .*; a text, or a list of objects with name"):
        Tokenizer.from_pretrained(files, chat_template=value)


class TestRendered:
    @pytest.fixture(autouse=True)
    def jinja(self):
        pytest.importorskip("jinja2")

    def test_text_and_tokens(self, tokenizer):
        text = tokenizer.apply_chat_template(TALK[:1], tokenize=False, add_generation_prompt=True)
        user = f"<|im_start|>user\n{TALK[0]['content']}<|im_end|>\n"
        assert text == f"{user}<|im_start|>assistant\n"
        ids = tokenizer.apply_chat_template(TALK[:1], add_generation_prompt=True)
        assert ids == tokenizer.encode(text, add_special_tokens=False)
        both = tokenizer.apply_chat_template([TALK[:1], TALK], tokenize=False)
        assert both[0] == user

    def test_the_last_message_is_continued(self, tokenizer):
        text = tokenizer.apply_chat_template(TALK, tokenize=False, continue_final_message=True)
        assert text.endswith("<|im_start|>assistant\nOf Mr. Darcy.")

    def test_the_assistants_tokens_are_marked(self, files):
        tokenizer = Tokenizer.from_pretrained(files, chat_template=GENERATION)
        encoded = tokenizer.apply_chat_template(
            TALK, return_dict=True, return_assistant_tokens_mask=True
        )
        ids = [
            index
            for index, mark in zip(encoded.input_ids, encoded.assistant_masks, strict=True)
            if mark
        ]
        assert tokenizer.decode(ids) == "Of Mr. Darcy.<|endoftext|>"

    @pytest.mark.parametrize(
        ("chat", "arguments", "message"),
        [
            (TALK[1:], {}, "refuses the chat: Roles must alternate user/assistant"),
            ("hello", {}, "a chat is of type str; a list of messages is expected"),
            ([], {}, "a chat has no messages"),
            (["a"], {}, "a chat is of type list; a list of messages"),
            (TALK, {"tools": [print]}, "tools has something of type builtin_function_or_method"),
            (TALK, {"return_dict": True, "tokenize": False}, "and tokenize is False; pass one"),
            (TALK, {"return_assistant_tokens_mask": True}, "needs return_dict=True"),
            (
                TALK,
                {"continue_final_message": True, "add_generation_prompt": True},
                "continue_final_message excludes add_generation_prompt",
            ),
            (TALK, {"chat_template": "{% if"}, "the chat template cannot be read: "),
            (TALK, {"chat_template": "{{ messages[9].x.y }}"}, "refuses the chat: "),
            (
                TALK,
                {"chat_template": "{{ ''.__class__.__mro__ }}"},
                "refuses the chat: access to attribute '__class__' of 'str' object is unsafe",
            ),
            (
                TALK,
                {"chat_template": "{{ messages.append(1) }}"},
                "refuses the chat: access to attribute 'append' of 'list' object is unsafe",
            ),
            (
                TALK,
                {"chat_template": "{{ 1 }}", "continue_final_message": True},
                "the chat template leaves out the last message",
            ),
        ],
    )
    def test_refusals(self, files, chat, arguments, message):
        tokenizer = Tokenizer.from_pretrained(files, chat_template=STRICT)
        with refused(InputError, message):
            tokenizer.apply_chat_template(chat, **arguments)

    def test_a_pipeline_answers(self, tmp_path):
        tokenizer = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT, chat_template=STRICT)
        out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out")
        set_tokenizer(out, tokenizer)
        generator = pipeline("text-generation", model=out, max_new_tokens=4, seed=1)
        [answer] = generator(TALK[:1])
        assert answer["generated_text"][0] == TALK[0]
        assert answer["generated_text"][1].keys() == {"role", "content"}
        [[first], [second]] = generator([TALK[:1], TALK[:1]], return_full_text=False)
        assert isinstance(first["generated_text"], str)
        assert isinstance(second["generated_text"], str)
        [prefilled] = generator(TALK)
        assert len(prefilled["generated_text"]) == 2
        assert prefilled["generated_text"][1]["content"].startswith("Of Mr. Darcy.")
        with refused(InputError, "a message of a chat lacks 'role' or 'content'; give both"):
            generator([{"role": "user"}])
