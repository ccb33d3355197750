"""The contents of small tokenizer.json files, with every part that is accepted."""

import base64
import struct
from typing import Any

WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LETTERS = [*"abcdefghijklmnopqrstuvwxyz .,'0123456789Ġ▁é#<>"]


def charsmap(replacement: bytes = b"fi") -> str:
    """Return a table of rules with one: the byte x becomes a text."""
    units = [0] * 512
    units[0] = 1 << 10  # the root points to block 1 ^ 0
    place = 1 ^ ord("x")
    units[place] = ord("x") | 1 << 8 | (place ^ 256) << 10  # has a value, at 256
    units[256] = 1 << 31
    trie = struct.pack("<512I", *units)
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + replacement + b"\0").decode()


NORMALIZERS: list[dict[str, Any]] = [
    {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
     "strip_accents": None, "lowercase": True},
    {"type": "ByteLevel"},
    *({"type": name} for name in ("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt")),
    {"type": "Precompiled", "precompiled_charsmap": charsmap()},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "StripAccents"},
]  # fmt: skip
PRE_TOKENIZERS: list[dict[str, Any]] = [
    {"type": "BertPreTokenizer"},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    {"type": "CharDelimiterSplit", "delimiter": " "},
    {"type": "Digits", "individual_digits": True},
    {"type": "FixedLength", "length": 3},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Punctuation", "behavior": "Isolated"},
    {"type": "Split", "pattern": {"Regex": WORD_PATTERN}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False},
    *({"type": name} for name in ("UnicodeScripts", "Whitespace", "WhitespaceSplit")),
]
DECODERS: list[dict[str, Any]] = [
    {"type": "BPEDecoder", "suffix": "</w>"},
    {"type": "ByteFallback"},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "CTC", "pad_token": "#", "word_delimiter_token": "▁", "cleanup": True},
    {"type": "Fuse"},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
]
_PIECES = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
POST_PROCESSORS: list[dict[str, Any]] = [
    {"type": "BertProcessing", "sep": ["a", 0], "cls": ["b", 1]},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
    {"type": "RobertaProcessing", "sep": ["a", 0], "cls": ["b", 1], "trim_offsets": True,
     "add_prefix_space": False},
    {"type": "TemplateProcessing", "single": _PIECES,
     "pair": [*_PIECES, {"Sequence": {"id": "B", "type_id": 1}}],
     "special_tokens": {"<s>": {"id": "<s>", "ids": [50], "tokens": ["<s>"]}}},
]  # fmt: skip
MODELS: list[dict[str, Any]] = [
    {"type": "BPE", "vocab": {token: i for i, token in enumerate([*_LETTERS, "ab", "the", "th"])},
     "merges": [["t", "h"], ["th", "e"], ["a", "b"]], "unk_token": "#", "byte_fallback": False},
    {"vocab": {token: i for i, token in enumerate(_LETTERS)}, "merges": []},
    {"type": "WordLevel", "vocab": {"the": 0, "cat": 1, "[UNK]": 2}, "unk_token": "[UNK]"},
    {"type": "WordPiece", "vocab": {token: i for i, token in enumerate([*_LETTERS, "##a", "##b"])},
     "unk_token": "#", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
    {"type": "Unigram", "vocab": [[token, -1.0 - i] for i, token in enumerate(_LETTERS)],
     "unk_id": 0, "byte_fallback": False},
]  # fmt: skip
PARTS = {
    "normalizer": NORMALIZERS,
    "pre_tokenizer": PRE_TOKENIZERS,
    "decoder": DECODERS,
    "post_processor": POST_PROCESSORS,
    "model": MODELS,
}
LISTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "decoder": "decoders",
    "post_processor": "processors",
}


def content(**parts: Any) -> dict[str, Any]:
    """Return what a tokenizer.json holds: a BPE model and an added token, and these parts."""
    added = {"id": 60, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": True,
             "normalized": False, "special": True}  # fmt: skip
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [added],
             "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
             "model": MODELS[0]}  # fmt: skip
    return whole | parts


def sequence(kind: str, parts: list[Any]) -> dict[str, Any]:
    """Return a part that is several."""
    return {"type": "Sequence", LISTS[kind]: parts}


def every_part() -> list[dict[str, Any]]:
    """Return contents that have each accepted part once."""
    return [content(**{kind: part}) for kind, parts in PARTS.items() for part in parts]
