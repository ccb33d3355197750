"""Looks for stop texts in a text that comes in parts."""

from collections.abc import Sequence


class StopSearch:
    """Looks for stop texts, character by character; what may begin one is held back.

    The one that is complete first ends the text; of several that end in the same place, the
    longest. So it does not matter in which parts the text comes.

    Attributes:
        found: the stop text that was found; None before.
    """

    def __init__(self, stops: Sequence[str], keeps_stop: bool = False) -> None:
        """
        Args:
            stops: texts that end the text.
            keeps_stop: whether the text that is returned has the stop text at its end.
        """
        self.found: str | None = None
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._borders = [_borders(stop) for stop in self._stops]
        self._matched = [0] * len(self._stops)  # characters of each that the text ends with
        self._keeps_stop = keeps_stop
        self._held = ""

    def add(self, text: str, is_searched: bool = True) -> str:
        """Take a part of the text; return what no stop text can begin in.

        Args:
            text: the part.
            is_searched: whether a stop text that is completed by this part counts.
        """
        if not self._stops:
            return text
        for place, character in enumerate(text):
            stop = self._step(character)
            if stop is not None and is_searched:
                self.found = stop
                whole = self._held + text[: place + 1]
                self._held = ""
                return whole if self._keeps_stop else whole[: len(whole) - len(stop)]
        whole = self._held + text
        sure = len(whole) - max(self._matched)
        self._held = whole[sure:]
        return whole[:sure]

    def finish(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held

    def _step(self, character: str) -> str | None:
        """Take a character; return the longest stop text that it completes."""
        completed = None
        for index, stop in enumerate(self._stops):
            matched, borders = self._matched[index], self._borders[index]
            while matched and stop[matched] != character:
                matched = borders[matched]
            matched += stop[matched] == character
            if matched == len(stop):
                completed = completed or stop
                matched = borders[matched]
            self._matched[index] = matched
        return completed


def _borders(text: str) -> list[int]:
    """Return, for each length, that of the longest proper beginning that is also an end of the
    beginning of that length (Knuth, Morris and Pratt 1977)."""
    borders = [0, 0]
    for end in range(1, len(text)):
        matched = borders[end]
        while matched and text[matched] != text[end]:
            matched = borders[matched]
        borders.append(matched + (text[matched] == text[end]))
    return borders
