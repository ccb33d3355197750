"""How far the parts of a tokenizer may make a text longer, and how long they may take."""

import unicodedata
from dataclasses import dataclass, field

# Characters that one character of a text may become, besides what Unicode's forms make of it (at
# most 18). Real tokenizers write a space or a line break as a few characters.
MAX_GROWTH = 64
# See Budget.spend_pattern(). Real tokenizers need less than 100.
MAX_TRIES = 256


class BudgetError(ValueError):
    """What is asked for is too much; the text says what."""


@dataclass
class Budget:
    """What the parts of one way through a tokenizer, encoding or decoding, may still do.

    Attributes:
        factor: characters that one character may have become.
        tries: of the regular expressions so far; see spend_pattern().
        largest: the longest replacement that one character may have become in `factor`.
        made: the characters that replacements so far may have written.
    """

    factor: float = 1
    tries: float = 0
    largest: float = 1
    made: set[str] = field(default_factory=set)

    def grow(self, factor: float) -> None:
        """Note how many characters each one may become.

        Raises:
            BudgetError: all growth together is too much.
        """
        self.factor *= factor
        if self.factor * self.largest > MAX_GROWTH:
            raise BudgetError(
                f"makes {self.factor * self.largest:.0f} characters of one, with what comes "
                f"before; at most {MAX_GROWTH} are allowed"
            )

    def replace(self, pattern: str | None, least: int, content: str, references: int = 0) -> None:
        """Note a replacement.

        One that looks for a character that no earlier one has written takes what was in the text,
        and each character of a text is taken by one such replacement only. So of those the longest
        counts, and not their product.

        Args:
            pattern: the text that is replaced; None for a regular expression.
            least: the characters that are replaced, at least.
            content: what is written instead.
            references: how often the content repeats what was matched.

        Raises:
            BudgetError: all growth together is too much.
        """
        written = max(len(content), len(unicodedata.normalize("NFKD", content)))
        factor = written / least + references if least else 1 + written + references
        is_first = pattern is not None and not self.made.issuperset(pattern)
        if is_first:
            self.largest = max(self.largest, factor)
            self.grow(1)
        elif factor > 1:
            self.grow(factor)
        self.made |= {*content, *unicodedata.normalize("NFKD", content)}

    def spend_pattern(self, weight: int) -> None:
        """Note a regular expression.

        The engine tries up to weight * n * n times on a text of n characters, and n is what the
        text has grown to.

        Args:
            weight: of pattern_cost.PatternCost.

        Raises:
            BudgetError: all regular expressions together may take too long.
        """
        self.tries += weight * (self.factor * self.largest) ** 2
        if self.tries > MAX_TRIES:
            raise BudgetError("may take too long, with what comes before")
