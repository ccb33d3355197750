"""Writes tokenizer files in the forms in which people save them, around a small vocabulary."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers.pre_tokenizers import ByteLevel

END_OF_TEXT = "<|endoftext|>"
ADDED = ["<|user|>", "<|im_end|>", "[PAD]", "<s>", END_OF_TEXT, "<mask>", "hello", "a b"]
TEXTS = [
    "hello hello",
    "hello <|user|> hello<|im_end|>  a b [PAD]<s>",
    f"{END_OF_TEXT} hello {END_OF_TEXT}",
    "  in café <mask>, in !",
    "",
    "a ba b<|user|><img>n't do ' s .",
]
_PAIRS = ["h e", "l l", "he ll", "hell o", "Ġ hello", "< |", "| >", "Ġ a", "i n", "Ġ <|"]
_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token")


def vocabulary(has_end: bool = True) -> tuple[dict[str, int], list[str]]:
    """Return a byte-level vocabulary of 266 or 267 tokens, and the lines of its merges."""
    tokens = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    for pair in _PAIRS:
        tokens.setdefault(pair.replace(" ", ""), len(tokens))
    if has_end:
        tokens[END_OF_TEXT] = len(tokens)
    return tokens, _PAIRS


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def write_vocabulary(directory: Path, has_end: bool = True, **config: Any) -> Path:
    """Write config.json, vocab.json and merges.txt; tokenizer_config.json if it has entries."""
    directory.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary(has_end)
    write_json(directory / "config.json", {"model_type": "gpt_neo"})
    write_json(directory / "vocab.json", tokens)
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    if config:
        write_json(directory / "tokenizer_config.json", config)
    return directory


class Draw:
    """Draws one directory; a token has the same flags wherever it is named."""

    def __init__(self, directory: Path, random: np.random.Generator) -> None:
        self.random = random
        self.directory = directory
        self.has_end = self.chance(0.7)
        self.tokens, self.merges = vocabulary(self.has_end)
        self.flags = {
            text: {
                "lstrip": self.chance(0.2),
                "rstrip": self.chance(0.2),
                "single_word": self.chance(0.15),
                "normalized": self.chance(0.5),
            }
            for text in ADDED
        }
        for flags in (self.flags[END_OF_TEXT],):
            flags |= {"lstrip": False, "rstrip": False, "single_word": False}
        self.named_by_text = {text for text in ADDED if not any(self.flags[text].values())}

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def choice(self, values: list[Any]) -> Any:
        return values[self.random.integers(len(values))]

    def some(self, most: int) -> list[str]:
        count = int(self.random.integers(most + 1))
        return [ADDED[i] for i in self.random.permutation(len(ADDED))[:count]]

    def token(self, is_typed: bool) -> str | dict[str, Any]:
        """A token as text, or as an object; as text only where it has no flags to forget."""
        text = self.choice(ADDED)
        if text in self.named_by_text or text == END_OF_TEXT:
            return text
        typed = {"__type": "AddedToken"} if is_typed else {}
        return {"content": text, **self.flags[text], **typed}

    def write(self) -> Path:
        write_vocabulary(self.directory, self.has_end)
        if self.chance(0.3):
            config = {"model_type": "gpt_neo", "tokenizer_class": "GPT2Tokenizer"}
            write_json(self.directory / "config.json", config)
        has_json = self.chance(0.5)
        if has_json:
            self.write_tokenizer_json()
        if not has_json or self.chance(0.3):
            self.write_merges()
        if self.chance(0.8):
            write_json(self.directory / "tokenizer_config.json", self.config(has_json))
        if self.chance(0.4):
            write_json(self.directory / "special_tokens_map.json", self.special(False))
        if self.chance(0.3):
            write_json(self.directory / "added_tokens.json", self.ids())
        return self.directory

    def write_merges(self) -> None:
        """Some tools write no heading, others no last line break."""
        heading = ["#version: 0.2"] if self.chance(0.9) else []
        end = [""] if self.chance(0.9) else []
        content = self.choice(["\n", "\n", "\r\n"]).join([*heading, *self.merges, *end])
        (self.directory / "merges.txt").write_bytes(content.encode())

    def write_tokenizer_json(self) -> None:
        merges = [tuple(pair.split()) for pair in self.merges]
        made = tokenizers.Tokenizer(tokenizers.models.BPE(self.tokens, merges))
        made.pre_tokenizer = ByteLevel(add_prefix_space=self.chance(0.3))
        made.decoder = tokenizers.decoders.ByteLevel()
        for text in self.some(3):
            added = tokenizers.AddedToken(text, **self.flags[text])
            (made.add_special_tokens if self.chance(0.6) else made.add_tokens)([added])
        if self.chance(0.1):
            made.enable_padding(pad_token="[PAD]")
        made.save(str(self.directory / "tokenizer.json"))

    def config(self, has_json: bool) -> dict[str, Any]:
        config = self.special(True)
        classes = ["GPT2Tokenizer", "GPT2TokenizerFast"]
        if has_json:
            classes += ["PreTrainedTokenizerFast", "GPTNeoXTokenizer", "CodeGenTokenizer"]
        optional = {
            "tokenizer_class": self.choice(classes),
            "add_prefix_space": self.chance(0.5),
            "add_bos_token": True,
            "clean_up_tokenization_spaces": self.chance(0.7),
            "split_special_tokens": self.chance(0.3),
            "extra_special_tokens": {"image_token": "<img>"},
        }
        config |= {name: value for name, value in optional.items() if self.chance(0.35)}
        if self.chance(0.4):
            config["added_tokens_decoder"] = {
                str(index): {"content": text, **self.flags[text], "special": self.chance(0.6)}
                for text, index in self.ids().items()
            }
        return config

    def special(self, is_typed: bool) -> dict[str, Any]:
        values = {name: self.token(is_typed) for name in _NAMES if self.chance(0.35)}
        if is_typed and self.chance(0.2):
            values[self.choice([*_NAMES])] = None
        if self.chance(0.35):
            further = [self.token(is_typed) for _ in range(self.random.integers(3))]
            values["additional_special_tokens"] = further
        return values

    def ids(self) -> dict[str, int]:
        """Ids as they were given, sometimes with holes."""
        return {
            text: self.tokens.get(text, len(self.tokens) + index + 5 * self.chance(0.2))
            for index, text in enumerate(self.some(4))
        }
