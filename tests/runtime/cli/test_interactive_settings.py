"""/set takes what the options of the command line take, and refuses what they refuse."""

import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, pipeline
from gptneo_onnx.runtime.cli.generate import session_settings
from gptneo_onnx.runtime.cli.main import build_parser, main


@pytest.fixture(scope="module")
def generator(embedded_export):
    return pipeline("text-generation", embedded_export)


@pytest.fixture
def settings_of(generator):
    """The settings of a command line, for a draft model of their own."""

    def settings_of(*options):
        generator.assistant_model = None
        return session_settings(generator, build_parser().parse_args(["generate", *options]))

    return settings_of


def test_the_options_of_the_command_line_are_set(settings_of):
    options = ["--temperature", "0.5", "--stop", "a b", "--stop=-x", "--no-do-sample"]
    settings = settings_of(*options, "--prompt-lookup", "--top-k", "7")
    assert [settings.shown(name) for name in settings.changed_names()] == [
        'stop "a b" "-x"',
        "do-sample off",
        "temperature 0.5",
        "top-k 7",
        "prompt-lookup 10",
    ]
    assert settings.config.temperature == 0.5
    assert settings.config.stop_strings == ["a b", "-x"]
    assert settings.config.do_sample is False


def test_none_is_set_without_options(settings_of):
    settings = settings_of()
    assert settings.changed_names() == []
    assert settings.shown("temperature") == "temperature 0.7"
    assert settings.shown("max-time") == "max-time (not set)"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("temperature", "0.9", "temperature 0.9"),
        ("max-tokens", "5", "max-new-tokens 5"),
        ("n", "5", "max-new-tokens 5"),
        ("max_new_tokens", "5", "max-new-tokens 5"),
        ("--top-p", "0.9", "top-p 0.9"),
        ("stop", "the end", 'stop "the end"'),
        ("stop", '"\\n" " The"', 'stop "\\n" " The"'),
        ("do-sample", "off", "do-sample off"),
        ("no-do-sample", "", "do-sample off"),
        ("do_sample", "", "do-sample on"),
        ("prompt-lookup", "", "prompt-lookup 10"),
        ("regex", "[a-z -]+", "regex [a-z -]+"),
        ("seed", "7", "seed 7"),
    ],
)
def test_values_as_the_command_line_takes_them(settings_of, name, value, shown):
    settings = settings_of()
    settings.set(name, value)
    assert settings.shown(name) == shown
    settings.unset(name)
    assert settings.changed_names() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", "-1"),
        ("top-k", "1.5"),
        ("seed", "-1"),
        ("max-new-tokens", "0"),
        ("stop", '""'),
        ("beams", "2"),
        ("regex", "("),
        ("grammar", "/nowhere"),
        ("draft", "/nowhere"),
        ("num-assistant-tokens", "3"),
        ("negative-prompt", "b"),
        ("repetition-penalty", "0"),
    ],
)
def test_what_the_command_line_refuses_is_refused_in_its_words(
    settings_of, embedded_export, capsys, name, value
):
    settings = settings_of("--seed", "3")
    with pytest.raises(InputError) as refused:
        settings.set(name, value)
    assert settings.changed_names() == ["seed"]
    typed = value.strip('"')
    command = ["generate", str(embedded_export), "--interactive", f"--{name}={typed}"]
    try:
        status = main(command)
    except SystemExit as ended:  # argparse ends the program itself
        status = ended.code
    assert status == 2
    assert str(refused.value) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temprature", "1", "'temprature' is not a setting; did you mean temperature?; /help"),
        ("xyzzy", "1", "'xyzzy' is not a setting; /help lists them"),
        ("json", "on", "'json' is not a setting"),
        ("do-sample", "maybe", "do-sample is 'maybe'; on or off is allowed"),
        ("seed", '"1" "2"', "seed takes one value, and 2 were given"),
        ("stop", '"a', "texts in double quotes, as .* are allowed"),
    ],
)
def test_what_cannot_be_set(settings_of, name, value, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        settings_of().set(name, value)


def test_settings_that_exclude_or_need_each_other(settings_of):
    settings = settings_of()
    settings.set("regex", "[a-z]+")
    with pytest.raises(InputError, match="--grammar: not allowed with argument --regex"):
        settings.set("grammar", "x")
    settings.set("guidance-scale", "1.5")
    settings.set("negative-prompt", "-b")
    with pytest.raises(InputError, match="--negative-prompt needs a weight"):
        settings.unset("guidance-scale")
    assert settings.changed_names() == ["guidance-scale", "negative-prompt", "regex"]


def test_a_draft_model_is_loaded_and_given_up(settings_of, embedded_export):
    settings = settings_of()
    settings.set("draft", str(embedded_export))
    assert isinstance(settings.arguments["assistant_model"], GPTNeoForCausalLM)
    settings.set("num-assistant-tokens", "3")
    with pytest.raises(InputError, match="--num-assistant-tokens is for a draft model"):
        settings.unset("draft")
    settings.unset("num-assistant-tokens")
    settings.unset("draft")
    assert settings.arguments["assistant_model"] is None
