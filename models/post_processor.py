"""The part of a tokenizer.json that puts tokens around a text."""

from typing import Any

# A token's text and its id.
TokenId = tuple[str, int]


def tokens_around(
    bos: TokenId | None, eos: TokenId | None = None, *, joins_pairs: bool = False
) -> dict[str, Any]:
    """Return a post_processor that puts tokens before and after a text.

    Args:
        bos, eos: the tokens before and after it.
        joins_pairs: whether the second text of a pair follows the first one directly, as GPT-2's
            class of transformers has it; GPT-NeoX's puts the tokens around both.
    """
    single, second = (
        [
            *([_token(bos, type_id)] if bos else []),
            {"Sequence": {"id": sequence, "type_id": type_id}},
            *([_token(eos, type_id)] if eos else []),
        ]
        for sequence, type_id in (("A", 0), ("B", 1))
    )
    if joins_pairs:
        second = [{"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *second],
        "special_tokens": {
            text: {"id": text, "ids": [index], "tokens": [text]}
            for text, index in filter(None, (bos, eos))
        },
    }


def _token(token: TokenId, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token[0], "type_id": type_id}}
