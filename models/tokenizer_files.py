"""What the tokenizer of a directory is: the contents of one tokenizer.json.

A directory has tokenizer.json, or GPT-2's vocab.json and merges.txt. The files beside them name
special and added tokens. Together they mean what transformers.AutoTokenizer (4.57.6) makes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.added_tokens import AddedToken, AddedVocabulary
from gptneo_onnx.models.chat_template import (
    CHAT_TEMPLATE_FILE,
    ChatTemplate,
    as_config_value,
    read_chat_template,
)
from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.gpt2_vocabulary import MERGES_FILE, VOCABULARY_FILE, read_gpt2_vocabulary
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from gptneo_onnx.models.post_processor import tokens_around
from gptneo_onnx.models.special_tokens import (
    ADDED_TOKENS_FILE,
    SPECIAL_TOKENS_FILE,
    TokenSettings,
    read_token_settings,
    text_of,
)
from gptneo_onnx.models.tokenizer_config import completed_config, new_config

END_OF_TEXT = "<|endoftext|>"
# What is read of a directory, besides a folder of chat templates. First the files without which it
# has no tokenizer.
READ_FILES = (
    TOKENIZER_FILE,
    VOCABULARY_FILE,
    MERGES_FILE,
    TOKENIZER_CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    ADDED_TOKENS_FILE,
    CHAT_TEMPLATE_FILE,
)
# Names of classes in transformers, without "Fast".
_GPT2, _GPT_NEOX, _CODEGEN = "GPT2Tokenizer", "GPTNeoXTokenizer", "CodeGenTokenizer"
_WITHOUT_DEFAULTS = "PreTrainedTokenizer"
_OF_VOCABULARY = (_GPT2, _CODEGEN)
_WITH_END_OF_TEXT = (_GPT2, _CODEGEN, _GPT_NEOX)
_DEFAULTS = ("bos_token", "eos_token", "unk_token")


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer, as its files describe it.

    Attributes:
        content: what the tokenizer.json of the whole tokenizer holds.
        is_stored: whether the directory's tokenizer.json holds exactly that.
        config: what the tokenizer_config.json beside it must hold.
        eos_token: the text of the end token; None without one.
        special_tokens: the texts of tokens such as unk_token by name; None for one that is switched
            off.
        clean_up_tokenization_spaces: whether decoding removes spaces before punctuation.
        split_special_tokens: whether special tokens in a text are read as any other text.
        chat_template: one template, or several by name; None without any.
        unknown_class: a class of transformers that may make something else of the files; None if
            the class is known to make this of them.
    """

    content: dict[str, Any]
    is_stored: bool
    config: dict[str, Any]
    eos_token: str | None
    special_tokens: Mapping[str, str | None]
    clean_up_tokenization_spaces: bool
    split_special_tokens: bool
    chat_template: ChatTemplate | None
    unknown_class: str | None


def has_tokenizer(directory: Path) -> bool:
    """Return whether a directory has a tokenizer in one of the forms that are read."""
    vocabulary = [directory / name for name in (VOCABULARY_FILE, MERGES_FILE)]
    return (directory / TOKENIZER_FILE).is_file() or all(path.is_file() for path in vocabulary)


def read_tokenizer_files(
    directory: Path, changes: Mapping[str, Any] | None = None
) -> TokenizerFiles:
    """Read the tokenizer of a directory that has one.

    Args:
        directory: has its files.
        changes: take the place of entries of tokenizer_config.json.

    One thing differs from transformers: <|endoftext|>, which GPT-2's class adds to a vocabulary
    without it, is left out if no file names it. No model has been trained with it.

    The vocabulary is not checked here: the tokenizers package does that.

    Raises:
        ModelFileError: a file is damaged, or tokenizer.json is missing and needed.
    """
    class_name = _class_name(directory)
    path = directory / TOKENIZER_FILE
    if path.is_file():
        stored = read_json_object(path)
        vocabulary = AddedVocabulary(stored, path)
        settings = read_token_settings(directory, vocabulary.stored, changes)
        pad_token = _pad_token_of_padding(stored)
        if class_name != _GPT_NEOX and pad_token is not None:
            settings.special.setdefault("pad_token", pad_token)
        implied = _take_defaults(settings, class_name)
        entries = vocabulary.entries()
    else:
        _check_of_vocabulary(directory, class_name)
        settings = read_token_settings(directory, {}, changes)
        implied = _take_defaults(settings, class_name)
        stored = read_gpt2_vocabulary(directory, settings)
        vocabulary = AddedVocabulary(stored, directory / VOCABULARY_FILE)
        _spell_out(settings)
        entries = []
    _add_tokens(vocabulary, settings, implied)
    content = dict(stored)
    if vocabulary.entries() != entries:
        content["added_tokens"] = vocabulary.entries()
    _apply_config(content, settings, class_name, vocabulary)
    eos_token = settings.texts.get("eos_token")
    config = settings.config
    chat_template = read_chat_template(directory, config)
    written = _config(directory, settings, implied, vocabulary, class_name)
    if chat_template is not None:  # in one file, which every program that knows templates reads
        written["chat_template"] = as_config_value(chat_template)
    return TokenizerFiles(
        content=content,
        is_stored=path.is_file() and content == stored,
        config=written,
        eos_token=eos_token if eos_token and eos_token in vocabulary else None,
        special_tokens=settings.texts,
        clean_up_tokenization_spaces=bool(config.get("clean_up_tokenization_spaces")),
        split_special_tokens=bool(config.get("split_special_tokens")),
        chat_template=chat_template,
        unknown_class=None if class_name in (*_WITH_END_OF_TEXT, _WITHOUT_DEFAULTS) else class_name,
    )


def check_same_ids(tokenizer: Any, vocabulary: Mapping[str, int]) -> None:
    """Check that the files that a tokenizer has saved give every token the id that it has.

    A slow tokenizer of transformers may leave gaps between the ids of added tokens, and its files
    cannot.

    Args:
        tokenizer: has get_vocab(), as those of transformers.
        vocabulary: the tokens of its files, with their ids.

    Raises:
        InputError: a token has another id.
    """
    expected = tokenizer.get_vocab()
    for token, index in vocabulary.items():
        if expected.get(token) != index:
            raise InputError(
                f"tokenizer is a {type(tokenizer).__name__} in which {shown(token)} has the id "
                f"{expected.get(token)}, which leaves a gap; a fast tokenizer gives it {index}: "
                "take one, of AutoTokenizer.from_pretrained"
            )


def _class_name(directory: Path) -> str:
    """Return the class that transformers reads a directory with, without "Fast"."""
    for name in (TOKENIZER_CONFIG_FILE, CONFIG_FILE):
        path = directory / name
        class_name = read_json_object(path).get("tokenizer_class") if path.is_file() else None
        if isinstance(class_name, str):
            return class_name.removesuffix("Fast")
    return _GPT2


def _check_of_vocabulary(directory: Path, class_name: str) -> None:
    """Raise ModelFileError unless the class makes GPT-2's tokenizer of vocab.json."""
    if class_name not in _OF_VOCABULARY:
        raise ModelFileError(
            f"{directory} has {VOCABULARY_FILE} of a {class_name} and no {TOKENIZER_FILE}; only "
            f"{' and '.join(_OF_VOCABULARY)} are read without: write it with transformers, "
            "AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
        )


def _take_defaults(settings: TokenSettings, class_name: str) -> tuple[str, ...]:
    """Add the special tokens that a class has unless a file names them; return their names."""
    if class_name not in _WITH_END_OF_TEXT:
        return ()
    implied = tuple(name for name in _DEFAULTS if name not in settings.special)
    settings.special |= dict.fromkeys(implied, END_OF_TEXT)
    return implied


def _pad_token_of_padding(stored: dict[str, Any]) -> str | None:
    """Return the pad token that a tokenizer.json pads with."""
    padding = stored.get("padding")
    pad_token = padding.get("pad_token") if isinstance(padding, dict) else None
    return pad_token if isinstance(pad_token, str) else None


def _spell_out(settings: TokenSettings) -> None:
    """Give tokens that are named by their text the flags that GPT2Tokenizer gives them."""
    for name in (*_DEFAULTS, "pad_token"):
        token = settings.special.get(name)
        if isinstance(token, str):
            settings.special[name] = AddedToken(token)


def _add_tokens(
    vocabulary: AddedVocabulary, settings: TokenSettings, implied: tuple[str, ...]
) -> None:
    named = {token.content for token in settings.added.values()}
    named |= {text_of(token) for token in (*settings.additional, *settings.extra)}
    named |= {text for name, text in settings.texts.items() if text and name not in implied}
    is_used = any(settings.config.get(name) for name in ("add_bos_token", "add_eos_token"))
    is_needless = not is_used and END_OF_TEXT not in named and END_OF_TEXT not in vocabulary
    vocabulary.add(settings.to_add(vocabulary.texts))
    if is_needless:
        vocabulary.discard_last(END_OF_TEXT)


def _apply_config(
    content: dict[str, Any], settings: TokenSettings, class_name: str, vocabulary: AddedVocabulary
) -> None:
    """Change what tokenizer_config.json changes in tokenizer.json, as the class does."""
    before, is_prefixed = content.get("pre_tokenizer"), settings.config.get("add_prefix_space")
    if not isinstance(before, dict) or before.get("type") != "ByteLevel":
        before = None
    if before is not None and isinstance(is_prefixed, bool | None):
        content["pre_tokenizer"] = {**before, "add_prefix_space": is_prefixed or False}
    if class_name == _GPT_NEOX:
        _apply_gpt_neox(content, settings, vocabulary)


def _apply_gpt_neox(
    content: dict[str, Any], settings: TokenSettings, vocabulary: AddedVocabulary
) -> None:
    """Put bos and eos around texts if the config says so, and nothing else."""
    around = []
    for flag, name in (("add_bos_token", "bos_token"), ("add_eos_token", "eos_token")):
        text = settings.texts.get(name) if settings.config.get(flag) else None
        index = None if text is None else vocabulary.id_of(text)
        around.append(None if text is None or index is None else (text, index))
    after = content.get("post_processor")
    adds_tokens = isinstance(after, dict) and after.get("type") not in (None, "ByteLevel")
    if any(around) or adds_tokens:
        content["post_processor"] = tokens_around(*around)


def _config(
    directory: Path,
    settings: TokenSettings,
    implied: tuple[str, ...],
    vocabulary: AddedVocabulary,
    class_name: str,
) -> dict[str, Any]:
    """Return the tokenizer_config.json of a tokenizer that has all tokens in tokenizer.json."""
    has_file = (directory / TOKENIZER_CONFIG_FILE).is_file()
    is_written = END_OF_TEXT in vocabulary and ("eos_token" in implied or not has_file)
    left_out = () if is_written else implied
    texts = {name: text for name, text in settings.texts.items() if name not in left_out}
    if not has_file:
        return settings.config | new_config(f"{class_name}Fast", texts, settings)
    config = completed_config(texts, settings)
    if "added_tokens_decoder" in config and not (directory / TOKENIZER_FILE).is_file():
        entries = vocabulary.entries()
        config["added_tokens_decoder"] = {str(entry.pop("id")): entry for entry in entries}
    return config
