"""Text on a terminal breaks between words, and steers nothing; elsewhere its bytes are kept."""

import io
import os
import unicodedata

import numpy as np
import pytest

from gptneo_onnx.runtime.cli.terminal_text import (
    TerminalText,
    one_line,
    print_text,
    terminal_width,
    visible,
    width,
)


@pytest.fixture
def terminal():
    """A terminal: the stream that a program writes to, and what it shows."""
    master, slave = os.openpty()
    stream = os.fdopen(slave, "w", encoding="utf-8", newline="")

    def shown():
        stream.write("\x00")  # which no text has: the end of what was written
        stream.flush()
        read = b""
        while not read.endswith(b"\x00"):
            read += os.read(master, 65536)
        return read[:-1].decode().replace("\r\n", "\n")

    stream.shown = shown
    yield stream
    stream.close()
    os.close(master)


def resize(stream, columns):
    import fcntl
    import struct
    import termios

    fcntl.ioctl(stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def lines_of(terminal, text, columns, pieces=None):
    """The lines of a text that comes in pieces; letter by letter by default."""
    resize(terminal, columns)
    writer = TerminalText(terminal)
    for piece in text if pieces is None else pieces:
        writer.write(piece)
    writer.end()
    return terminal.shown().removesuffix("\n").split("\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three four", ["one two", "three four"]),
        ("exactly10c fits", ["exactly10c", "fits"]),
        ("a\nb", ["a", "b"]),
        ("a\n\n  b c", ["a", "", "  b c"]),
        ("one two  three", ["one two", "three"]),
        ("incomprehensibilities ok", ["incomprehe", "nsibilitie", "s ok"]),
        ("a incomprehensible", ["a", "incomprehe", "nsible"]),
        ("a\tb", ["a       b"]),
        ("ab\tcdef", ["ab", "cdef"]),
        ("日本語日本語", ["日本語日本", "語"]),
        ("a日本語日本語", ["a日本語日", "本語"]),
        ("e\u0301" * 12, ["e\u0301" * 10, "e\u0301" * 2]),
        ("👩\u200d👩 a", ["👩\u200d👩 a"]),
        ("a\x1b[31mb c", ["a\\x1b[31mb", "c"]),
        ("", [""]),
    ],
)
def test_lines_of_ten_columns(terminal, text, lines):
    assert lines_of(terminal, text, 10) == lines
    assert lines_of(terminal, text, 10, pieces=[text]) == lines


def test_a_word_is_shown_when_the_next_begins(terminal):
    writer = TerminalText(terminal)
    writer.write("one tw")
    assert terminal.shown() == "one"
    writer.write("o ")
    assert terminal.shown() == " two"


def test_a_long_word_is_not_held_back_for_ever(terminal):
    resize(terminal, 10)
    TerminalText(terminal).write("x" * 25)
    assert terminal.shown().replace("\n", "") == "x" * 20


def test_a_change_of_width_is_followed(terminal):
    resize(terminal, 20)
    writer = TerminalText(terminal)
    writer.write("one two three four ")
    resize(terminal, 8)
    writer.write("one two three ")
    assert terminal.shown() == "one two three four\none two\nthree"


def test_a_terminal_that_does_not_say_its_width(terminal):
    assert terminal_width(terminal) == 80
    assert terminal_width(io.StringIO()) == 80


def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(terminal, random):
    letters = [*"abcdefg    \n\t", "日", "語", "é", "e\u0301", "\u200b", "\x1b", "\x07", "👍"]
    for columns in (2, 3, 7, 40):
        text = "".join(random.choice(letters, 400))
        cuts = np.sort(random.choice(len(text), 60))
        pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, None], strict=True)]
        lines = lines_of(terminal, text, columns, pieces)
        assert max(map(width, lines)) <= columns
        assert "".join("".join(lines).split()) == "".join(visible(text).split())


def test_every_control_character_is_visible():
    for code in range(0x110000):
        character = chr(code)
        steers = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        if steers and character not in "\n\t":
            assert visible(character).startswith("\\")
            assert visible(character).isascii()
            assert visible(character).isprintable()
    assert visible("\u202etxt.exe") == "\\u202etxt.exe"
    assert visible("a\x1b]0;title\x07\r\x9b") == "a\\x1b]0;title\\a\\r\\x9b"
    assert visible("é日👍\n\t") == "é日👍\n\t"
    assert one_line("a\nb\tc") == "a\\nb\\tc"


def test_a_file_gets_the_bytes_of_the_text():
    text = "a \x1b[31m " + "word " * 50 + "\r\n\t"
    file = io.StringIO(newline="")
    print_text(text, file)
    assert file.getvalue() == f"{text}\n"


def test_a_terminal_gets_lines(terminal):
    resize(terminal, 10)
    print_text("one two three", terminal)
    assert terminal.shown() == "one two\nthree\n"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("日本", 4), ("e\u0301", 1), ("각", 2), ("\u1100\u1161\u11a8", 2), ("👍", 2)],
)
def test_width(text, columns):
    assert width(text) == columns
