"""The /words of an interactive session: what each is called, and what it does."""

import glob
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.cli.generate_inputs import read_text_file
from gptneo_onnx.runtime.cli.interactive_session import Session
from gptneo_onnx.runtime.generation.config_combination import read_config

_MAX_LOADED_BYTES = 4 * 1024 * 1024
_END_CHARACTERS = 60

WRITING = """\
Type how the text begins: the model continues it, then you again, each time on a new line. \
After an empty line the model writes on.
  \"""text\"""              several lines
  a \\ at a line's end     the next line belongs to the text
  //text                  a text that begins with a slash
  Ctrl-C                  stops the model; at the prompt clears the line, and twice ends
  Ctrl-D                  ends
  Tab, arrow keys         complete a command, recall what was typed, and edit it"""


@dataclass(frozen=True)
class Command:
    """A /word.

    Attributes:
        names: what it is called; /help shows the first.
        arguments: what follows it, as /help shows it.
        meaning: what it does.
        run: does it, for a session and the text that follows the name.
    """

    names: tuple[str, ...]
    arguments: str
    meaning: str
    run: Callable[[Session, str], None]


def run_command(session: Session, line: str) -> None:
    """Do what a line that begins with a slash says.

    Raises:
        InputError: there is no such command, or it cannot be done.
    """
    name, _, argument = line.partition(" ")
    command = _BY_NAME.get(name)
    if command is None:
        close = get_close_matches(name, [each for each in _BY_NAME if each != "/?"], n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(
            f"{shown(name)} is not a command{meant}; /help lists them, and a text that begins with "
            "a slash is written with two"
        )
    argument = argument.strip()
    if argument and not command.arguments:
        raise InputError(f"{name} stands alone, and {shown(argument)} follows it")
    command.run(session, argument)


def complete(session: Session, line: str) -> list[str]:
    """Return the words that the last word of a line can become."""
    *before, last = line.split(" ")
    if not line.startswith("/"):
        return []
    if not before:
        return [f"{name} " for name in _BY_NAME if name.startswith(last)]
    match before:
        case ["/set" | "/help"]:
            found = session.settings.names()
        case ["/unset"]:
            found = session.settings.changed_names()
        case ["/set", name] if name in session.settings.names():
            found = ["on", "off"] if session.settings.is_switch(name) else []
        case ["/save" | "/load"]:
            paths = glob.glob(f"{glob.escape(last)}*")  # noqa: PTH207 (keeps a leading ./)
            return [f"{path}/" if Path(path).is_dir() else path for path in sorted(paths)]
        case _:
            return []
    return [f"{name} " for name in found if name.startswith(last)]


def _help(session: Session, argument: str) -> None:
    if argument:
        command = _BY_NAME.get(f"/{argument.lstrip('/')}")
        if command is None:
            session.show(
                f"{session.settings.shown(argument)}\n{session.settings.help_of(argument)}"
            )
        else:
            session.show(_line_of(command))
        return
    settings = ", ".join(session.settings.names())
    commands = "\n".join(map(_line_of, COMMANDS))
    session.show(f"{WRITING}\n\n{commands}\n\nSettings (/help NAME describes one): {settings}")


def _line_of(command: Command) -> str:
    usage = f"{command.names[0]} {command.arguments}"
    others = ", ".join(command.names[1:])
    return f"  {usage:22}  {command.meaning}{f' (also {others})' if others else ''}"


def _set(session: Session, argument: str) -> None:
    name, _, value = argument.partition(" ")
    settings = session.settings
    if not name:
        lines = [settings.shown(each) for each in settings.changed_names()]
        session.show("\n".join(lines) or "every setting has its default; /help lists them")
    elif not value.strip() and settings.needs_value(name):
        session.show(settings.shown(name))
    else:
        settings.set(name, value.strip())
        session.apply_settings()
        session.say(settings.shown(name))


def _unset(session: Session, argument: str) -> None:
    if not argument:
        raise InputError("/unset needs the name of a setting; /set shows those that are set")
    session.settings.unset(argument)
    session.apply_settings()
    session.say(session.settings.shown(argument))


def _seed(session: Session, argument: str) -> None:
    _set(session, f"seed {argument}")


def _reset(session: Session, argument: str) -> None:
    session.conversation.clear()
    _say_end(session)


def _retry(session: Session, argument: str) -> None:
    session.conversation.check_retry()
    if not read_config(session.conversation.config).do_sample:
        raise InputError(
            "do-sample is off, so that the text would be the same; /set do-sample changes that"
        )
    seed = session.settings.seed
    if seed is not None:
        _set(session, f"seed {seed + 1}")
    session.write(session.conversation.retry)


def _undo(session: Session, argument: str) -> None:
    session.conversation.undo()
    _say_end(session)


def _more(session: Session, argument: str) -> None:
    session.turn("")


def _save(session: Session, argument: str) -> None:
    path = _path(argument, "/save")
    text = session.conversation.text
    if not text:
        raise InputError("the text is still empty; there is nothing to save")
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(f"{text}\n")
    except FileExistsError as error:
        raise InputError(f"{path} exists, and stays as it is; name another file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another") from error
    session.say(f"saved to {path}")


def _load(session: Session, argument: str) -> None:
    path = _path(argument, "/load")
    session.conversation.load(read_text_file(str(path), _MAX_LOADED_BYTES).removesuffix("\n"))
    _say_end(session)


def _path(argument: str, command: str) -> Path:
    if not argument:
        raise InputError(f"{command} needs the name of a file")
    path = Path(argument)
    try:
        return path.expanduser()
    except RuntimeError:  # the file of a user who is not there
        return path


def _say_end(session: Session) -> None:
    text = session.conversation.text
    end = text[-_END_CHARACTERS:]
    dots = "..." if len(text) > len(end) else ""
    session.say(f"the text now ends: {dots}{end}" if text else "the text is empty")


def _info(session: Session, argument: str) -> None:
    conversation = session.conversation
    model = conversation.model
    rows = {
        "model": model.engine.path,
        "device": model.device,
        "layers": model.config.num_layers,
        "hidden size": model.config.hidden_size,
        "context": f"{conversation.context} tokens, {len(conversation.ids)} of them in the text",
        "settings": ", ".join(map(session.settings.shown, session.settings.changed_names()))
        or "the defaults",
    }
    session.show("\n".join(f"{name:14}{value}" for name, value in rows.items()))


def _quit(session: Session, argument: str) -> None:
    session.is_over = True


COMMANDS = (
    Command(("/help", "/?"), "[NAME]", "lists everything, or describes one name", _help),
    Command(("/set",), "[NAME [VALUE]]", "changes a setting; alone shows what was changed", _set),
    Command(("/unset",), "NAME", "gives a setting its default again", _unset),
    Command(("/seed",), "[N]", "the same as /set seed", _seed),
    Command(("/more",), "", "the model writes on, as after an empty line", _more),
    Command(("/retry",), "", "the model writes its last part again, with another seed", _retry),
    Command(("/undo",), "", "takes back the last turn, /reset or /load", _undo),
    Command(("/reset", "/clear"), "", "forgets the text and begins a new one", _reset),
    Command(("/save",), "FILE", "writes the text so far to a new file", _save),
    Command(("/load",), "FILE", "goes on with the text of a file", _load),
    Command(("/info",), "", "describes the model, the text and the settings", _info),
    Command(("/quit", "/exit", "/bye"), "", "ends, as Ctrl-D does", _quit),
)
_BY_NAME = {name: command for command in COMMANDS for name in command.names}
