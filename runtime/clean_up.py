"""Removes the spaces that tokenizers of words leave before punctuation."""

# transformers.PreTrainedTokenizerBase.clean_up_tokenization, in its order.
_CLEAN_UPS = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def clean_up_spaces(text: str) -> str:
    """Return a text without the spaces before punctuation and contractions."""
    for spaced, cleaned in _CLEAN_UPS:
        text = text.replace(spaced, cleaned)
    return text
