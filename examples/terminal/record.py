"""Record commands in a terminal and draw them as an animated SVG: docs/generate.svg.

    .venv/bin/python examples/terminal/record.py docs/generate.svg

Runs each of COMMANDS in a pseudo-terminal, from the repository's root and with the gptneo-onnx of
the Python that runs this script, and notes when each piece of output comes. Needs Linux or macOS,
and gptneo-onnx with the extras `cpu` and `export`; no other package. The font is the viewer's.

The text in the picture is what the commands printed, and its timing is real with one exception: the
embedded model writes faster than anyone reads. So pauses between two pieces that are shorter than
SHORT_PAUSE last SLOWER times as long. The picture's title says so.
"""

import argparse
import fcntl
import os
import pty
import shutil
import struct
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent.parent
COMMANDS = [
    "gptneo-onnx export models/tiny build/tiny",
    'gptneo-onnx generate build/tiny "She was" --max-new-tokens 85 --seed 9',
]
COLUMNS, ROWS = 80, 24
SHORT_PAUSE, SLOWER = 0.05, 50
KEYSTROKE, READING = 0.035, 5.0  # seconds for a typed character, and before it starts again
TITLE = f"6 million parameters on two CPU cores, slowed down {SLOWER} times to be read"

CELL, LINE, FONT_SIZE, MARGIN, BAR = 8.4, 20, 14, 16, 34  # pixels
LAST = "to{opacity:1}"
STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: #1f2328; white-space: pre }
.title { fill: #59636e; font-size: 12px }
.command { fill: #0a3069; font-weight: 600 }
.piece { animation-duration: var(--all); animation-timing-function: step-end;
  animation-iteration-count: infinite }
@media (prefers-reduced-motion: reduce) { .piece { animation: none } .cursor { display: none } }
"""


@dataclass
class Piece:
    """Text within one line of the screen, that appears at once and may be written over later."""

    row: int
    column: int
    text: str
    seconds: float
    is_command: bool = False
    until: float | None = None


class Screen:
    """A terminal that understands text and line ends, and refuses everything else."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.row = self.column = 0

    def write(self, text: str, seconds: float, is_command: bool = False) -> None:
        while text:
            if text.startswith("\r"):
                self.column, text = 0, text[1:]
            elif text.startswith("\n"):
                self.row, text = self.row + 1, text[1:]
            elif self.column == COLUMNS:
                self.row, self.column = self.row + 1, 0
            else:
                end = min((text.index(mark) for mark in "\r\n" if mark in text), default=len(text))
                part = text[: min(end, COLUMNS - self.column)]
                if not part.isprintable():
                    raise ValueError(f"cannot draw {part!r}")
                if self.row >= ROWS:
                    raise ValueError(f"more than {ROWS} lines; raise ROWS or print less")
                self._put(Piece(self.row, self.column, part, seconds, is_command))
                self.column, text = self.column + len(part), text[len(part) :]

    def _put(self, piece: Piece) -> None:
        """Add a piece; what it covers of earlier ones, as a progress bar does, disappears."""
        end = piece.column + len(piece.text)
        for old in [each for each in self.pieces if each.row == piece.row and each.until is None]:
            if old.column < end and piece.column < old.column + len(old.text):
                old.until = piece.seconds
                left = old.text[: max(piece.column - old.column, 0)]
                right = old.text[max(end - old.column, 0) :]
                for column, text in ((old.column, left), (end, right)):
                    if text:
                        self.pieces.append(Piece(old.row, column, text, piece.seconds))
        self.pieces.append(piece)


def run(command: str) -> list[tuple[float, str]]:
    """Run a command line in a pseudo-terminal; returns (seconds since its start, output)."""
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(ROOT)
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.execvp("sh", ["sh", "-c", command])
    started, output = time.perf_counter(), []
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # on Linux, what reading from a terminal without a process gives
            data = b""
        if not data:
            break
        output.append((time.perf_counter() - started, data.decode()))
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"{command} failed: {''.join(text for _, text in output)}")
    return output


def play(commands: list[str]) -> tuple[Screen, float]:
    """Run the commands one after another on one screen; returns it, and the seconds it takes."""
    screen, now = Screen(), 0.6
    for command in commands:
        screen.write("$ ", 0.0 if command is commands[0] else now)
        for character in command:
            now += KEYSTROKE
            screen.write(character, now, is_command=True)
        screen.write("\r\n", now)
        before = 0.0
        for seconds, text in run(command):
            pause, before = seconds - before, seconds
            now += pause * SLOWER if pause < SHORT_PAUSE else pause
            screen.write(text, now)
        now += 0.8
    return screen, now


def draw(screen: Screen, seconds: float) -> str:
    """The SVG; without animation, as in a viewer that has none, it shows the last state."""
    total = seconds + READING
    styles, texts, moves = [], [], []
    for number, piece in enumerate(screen.pieces):
        x, y = MARGIN + piece.column * CELL, BAR + MARGIN + piece.row * LINE
        share = f"{100 * piece.seconds / total:.2f}%"
        moves.append(f"{share}{{transform:translate({x + len(piece.text) * CELL:.1f}px,{y}px)}}")
        visible = piece.text.lstrip(" ")
        if not visible:
            continue
        x += (len(piece.text) - len(visible)) * CELL
        kind = "piece command" if piece.is_command else "piece"
        gone = "" if piece.until is None else f"{100 * piece.until / total:.2f}%,to{{opacity:0}}"
        styles.append(f"@keyframes p{number}{{0%{{opacity:0}}{share}{{opacity:1}}{gone or LAST}}}")
        texts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y + FONT_SIZE}" opacity="{int(not gone)}"'
            f' style="animation-name:p{number}" textLength="{len(visible) * CELL:.1f}">'
            f"{escape(visible)}</text>"
        )
    width = round(2 * MARGIN + COLUMNS * CELL)
    height = BAR + 2 * MARGIN + (max(piece.row for piece in screen.pieces) + 1) * LINE
    dots = "".join(
        f'<circle cx="{MARGIN + 4 + 18 * place}" cy="{BAR // 2}" r="5" fill="#d1d9e0"/>'
        for place in range(3)
    )
    cursor = f"@keyframes cursor{{{''.join(moves)}}}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img" style="--all:{total:.2f}s">',
            f"<title>{escape('; '.join(COMMANDS))}</title>",
            f"<style>{STYLE}{cursor}{''.join(styles)}</style>",
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="#fff"'
            ' stroke="#d1d9e0"/>',
            f'{dots}<text class="title" x="{width - MARGIN}" y="{BAR // 2 + 4}"'
            f' text-anchor="end">{escape(TITLE)}</text>',
            f'<path d="M0 {BAR}H{width}" stroke="#d1d9e0"/>',
            *texts,
            f'<rect class="piece cursor" width="{CELL}" height="{FONT_SIZE + 3}" fill="#0969da"'
            ' fill-opacity=".5" style="animation-name:cursor"/>',
            "</svg>",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Record commands as an animated SVG.")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    shutil.rmtree(ROOT / "build/tiny", ignore_errors=True)  # or there would be nothing to export
    screen, seconds = play(COMMANDS)
    options.out.write_text(draw(screen, seconds), encoding="utf-8")
    print(f"{options.out}: {seconds + READING:.0f} s, {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
