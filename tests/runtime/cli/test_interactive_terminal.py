"""The real program on a real terminal: keys, history, Ctrl-C, and lines of the terminal's width."""

import json
import subprocess
import sys

import pytest
from terminal import CTRL_A, CTRL_C, CTRL_D, TAB, UP, Terminal

GREEDY = ("--no-do-sample", "--max-new-tokens", "4")
CLEARED = "[Ctrl-C once more, /quit or Ctrl-D ends]\r\n> "


@pytest.fixture
def state(tmp_path):
    """The folder that the history is in."""
    return tmp_path / "state"


@pytest.fixture
def history(state):
    return state / "gptneo-onnx/history"


@pytest.fixture
def open_terminal(embedded_export, state):
    """Start the program on a terminal; give it the options after MODEL."""

    def open_terminal(*options, columns=80, words=None):
        words = [str(embedded_export)] if words is None else words
        return Terminal(
            ["generate", *words, *options], columns, variables={"XDG_STATE_HOME": str(state)}
        )

    return open_terminal


def test_a_model_without_a_prompt_is_written_with_in_turns(open_terminal):
    with open_terminal(*GREEDY) as terminal:
        assert "/quit or Ctrl-D ends" in terminal.wait_for("\r\n> ")
        terminal.enter("She was")
        first = terminal.wait_for("\r\n> ")
        assert first.startswith(" ")
        terminal.enter("/undo")
        assert terminal.wait_for("\r\n> ") == "[the text is empty]"
        terminal.enter("She was")
        assert terminal.wait_for("\r\n> ") == first
        terminal.enter("/quit")
        assert terminal.end() == ("", 0)


def test_ctrl_d_ends(open_terminal):
    with open_terminal("--interactive") as terminal:
        terminal.wait_for("\r\n> ")
        terminal.send(CTRL_D)
        assert terminal.end() == ("\r\n", 0)


def test_a_whole_result_is_asked_for_with_a_prompt(open_terminal):
    with open_terminal("--json", *GREEDY) as terminal:
        terminal.wait_for("type the prompt, and end it with Ctrl-D\r\n")
        terminal.enter("She was")
        terminal.send(CTRL_D)
        terminal.wait_for('"prompt": "She was", "results"')


def test_editing_keys(open_terminal):
    with open_terminal(*GREEDY) as terminal:
        terminal.wait_for("\r\n> ")
        terminal.send(f"set top-k 7{CTRL_A}/\r")
        terminal.wait_for("[top-k 7]\r\n> ")
        terminal.send(f"{UP}\x7f9\r")
        terminal.wait_for("[top-k 9]\r\n> ")


def test_tab_completes_commands_and_settings(open_terminal, tmp_path):
    (tmp_path / "only.txt").write_text("Emma was")
    with open_terminal(*GREEDY) as terminal:
        terminal.wait_for("\r\n> ")
        terminal.send(f"/se{TAB}")
        terminal.send(f"{TAB}{TAB}")
        terminal.wait_for("/seed")
        terminal.send(f"t{TAB}temper{TAB}0.5\r")
        terminal.wait_for("[temperature 0.5]\r\n> ")
        terminal.send(f"/uns{TAB}tem{TAB}\r")
        terminal.wait_for("[temperature 0.7]\r\n> ")
        terminal.send(f"/set do-s{TAB}of{TAB}\r")
        terminal.wait_for("[do-sample off]\r\n> ")
        terminal.send(f"/load {tmp_path}/on{TAB}\r")
        terminal.wait_for("[the text now ends: Emma was]")


def test_several_lines(open_terminal, tmp_path):
    file = tmp_path / "text.txt"
    with open_terminal(*GREEDY) as terminal:
        terminal.wait_for("\r\n> ")
        terminal.send('"""She\rwas\\\r"""\r')
        terminal.wait_for('"""She\r\n... ')
        terminal.wait_for("was\\\r\n... ")
        terminal.wait_for("\r\n> ")
        terminal.send("very\\\r")
        terminal.wait_for("\r\n... ")
        terminal.send("fond\r")
        terminal.wait_for("\r\n> ")
        terminal.enter(f"/save {file}")
        terminal.wait_for("\r\n> ")
    text = file.read_text()
    assert text.startswith("She\nwas\\\n")
    assert "\nvery\nfond" in text


def test_an_unknown_word_is_not_a_prompt(open_terminal):
    with open_terminal(*GREEDY, columns=200) as terminal:
        terminal.wait_for("\r\n> ")
        terminal.enter("/rest")
        terminal.wait_for("['/rest' is not a command; did you mean /reset?; /help lists them")
        terminal.enter("/info")
        terminal.wait_for("512 tokens, 0 of them in the text")


class TestCtrlC:
    def test_it_stops_the_model_and_keeps_the_session(self, open_terminal):
        with open_terminal("--max-new-tokens", "450", "--seed", "3") as terminal:
            terminal.wait_for("\r\n> ")
            terminal.enter("She was")
            terminal.wait_for(" ")
            terminal.send(CTRL_C)
            terminal.wait_for("\r\n[stopped]\r\n> ")
            terminal.enter("/set max-tokens 3")
            terminal.wait_for("[max-new-tokens 3]\r\n> ")
            terminal.enter("")
            terminal.wait_for("\r\n> ")
            terminal.send(CTRL_D)
            assert terminal.end()[1] == 0

    def test_it_clears_the_line_and_twice_ends(self, open_terminal):
        with open_terminal(*GREEDY) as terminal:
            terminal.wait_for("\r\n> ")
            terminal.send("never sent")
            terminal.wait_for("never sent")
            terminal.interrupt_prompt()
            terminal.wait_for(CLEARED)
            terminal.enter("/seed 4")
            terminal.wait_for("[seed 4]\r\n> ")
            terminal.interrupt_prompt()
            terminal.wait_for(CLEARED)
            terminal.interrupt_prompt()
            assert terminal.end()[1] == 0

    def test_it_gives_up_a_text_of_several_lines(self, open_terminal):
        with open_terminal(*GREEDY) as terminal:
            terminal.wait_for("\r\n> ")
            terminal.send('"""never\r')
            terminal.wait_for("\r\n... ")
            terminal.interrupt_prompt()
            terminal.wait_for(CLEARED)
            terminal.enter("/info")
            terminal.wait_for("0 of them in the text")


class TestHistory:
    def test_it_is_recalled_in_the_next_session(self, open_terminal, history):
        with open_terminal(*GREEDY) as terminal:
            terminal.wait_for("\r\n> ")
            terminal.enter("/seed 4")
            terminal.wait_for("\r\n> ")
            terminal.send('"""She\rwas"""\r')
            terminal.wait_for("\r\n> ")
            terminal.send(CTRL_D)
            terminal.end()
        assert [*map(json.loads, history.read_text().splitlines())] == [
            "/seed 4",
            '"""She\nwas"""',
        ]
        assert history.stat().st_mode & 0o777 == 0o600
        with open_terminal(*GREEDY) as terminal:
            terminal.wait_for("\r\n> ")
            terminal.send(f"{UP}\r")
            terminal.wait_for('was"""\r\n')
            terminal.wait_for("\r\n> ")
            terminal.send(f"{UP}{UP}2\r")
            terminal.wait_for("[seed 42]")

    def test_no_history(self, open_terminal, history):
        with open_terminal("--no-history") as terminal:
            terminal.wait_for("\r\n> ")
            terminal.enter("/seed 4")
            terminal.wait_for("\r\n> ")
            terminal.send(f"{UP}2\r")
            terminal.wait_for("[seed 42]\r\n> ")
        assert not history.parent.exists()

    def test_a_folder_that_cannot_be_made(self, open_terminal, state):
        state.write_text("no folder")
        with open_terminal(columns=200) as terminal:
            terminal.wait_for("[what you type is not kept for later sessions: Not a directory]\r\n")
            terminal.wait_for("\r\n> ")


def lines_of(shown):
    """The lines that are left of what was shown: a note about loading may have been erased."""
    return [line.rpartition("\r")[2] for line in shown.split("\r\n")]


class TestWidth:
    def test_no_line_is_wider_than_the_terminal(self, open_terminal, embedded_export):
        options = ("--max-new-tokens", "60", "--seed", "3")
        prompt = "She was \x1b[31mvery 日本語 fond of him and of everything that he had ever said."
        with open_terminal(prompt, *options, columns=30) as terminal:
            shown, status = terminal.end()
        assert status == 0
        lines = lines_of(shown)
        assert lines[:2] == ["She was \\x1b[31mvery 日本語", "fond of him and of everything"]
        assert lines[2].startswith("that he had ever said.")
        assert max(map(len, lines)) <= 30

        command = [sys.executable, "-m", "gptneo_onnx.runtime.cli.main", "generate"]
        piped = subprocess.run(
            [*command, str(embedded_export), prompt, *options], capture_output=True, check=True
        ).stdout.decode()
        assert piped.startswith(prompt)
        assert " ".join(lines).split() == piped.replace("\x1b", "\\x1b").split()

    def test_whole_results_are_wrapped_too(self, open_terminal):
        prompt = "She was very fond of him and of everything that he had ever said."
        with open_terminal(prompt, "--no-stream", *GREEDY, columns=30) as terminal:
            assert terminal.end()[0].startswith(
                "She was very fond of him and\r\nof everything that"
            )

    def test_a_change_of_width_is_followed(self, open_terminal):
        with open_terminal("--max-new-tokens", "60", columns=80) as terminal:
            terminal.wait_for("\r\n> ")
            terminal.resize(25)
            terminal.enter("She was")
            text = terminal.wait_for("\r\n> ")
            assert max(map(len, text.split("\r\n"))) <= 25


def test_without_readline(embedded_export):
    program = (
        "import sys; sys.modules['readline'] = None\n"
        "from gptneo_onnx.runtime.cli.main import main\n"
        f"sys.exit(main(['generate', {str(embedded_export)!r}, *sys.argv[1:]]))"
    )
    with Terminal(GREEDY, program=("-c", program)) as terminal:
        terminal.wait_for("\r\n> ")
        terminal.enter("/seed 4")
        terminal.wait_for("[seed 4]\r\n> ")
        terminal.interrupt_prompt()
        terminal.wait_for(CLEARED)
        terminal.send(CTRL_D)
        assert terminal.end()[1] == 0


def test_an_output_that_is_no_terminal_gets_the_text_alone(embedded_export, tmp_path):
    file = tmp_path / "text.txt"
    program = (
        "import sys; from gptneo_onnx.runtime.cli.main import main\n"
        f"sys.stdout = open({str(file)!r}, 'w')\n"
        f"sys.exit(main(['generate', {str(embedded_export)!r}, '--interactive', *sys.argv[1:]]))"
    )
    with Terminal(GREEDY, program=("-c", program)) as terminal:
        terminal.wait_for("\r\n> ")
        terminal.send("She was\r")
        terminal.wait_for("\r\n> ")
        terminal.send(CTRL_D)
        assert terminal.end()[1] == 0
    assert file.read_text().startswith(" ")
    assert ">" not in file.read_text()


def test_a_pipe_is_the_prompt(embedded_export):
    command = [sys.executable, "-m", "gptneo_onnx.runtime.cli.main", "generate"]
    output = subprocess.run(
        [*command, str(embedded_export), *GREEDY], input=b"/quit\n", capture_output=True, check=True
    )
    assert output.stdout.startswith(b"/quit")
    assert output.stderr == b""
