"""Reads the chat templates of a directory: from tokenizer_config.json, or from separate files.

Source: transformers.PreTrainedTokenizerBase.from_pretrained, in version 4.57.6.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import MAX_BYTES
from gptneo_onnx.models.named_file import TooLargeError, read_file

CHAT_TEMPLATE_FILE = "chat_template.jinja"
CHAT_TEMPLATE_FOLDER = "additional_chat_templates"
DEFAULT_TEMPLATE = "default"
_SUFFIX = ".jinja"

# One template, or several by name.
ChatTemplate = str | dict[str, str]


def read_chat_template(directory: Path, config: Mapping[str, Any]) -> ChatTemplate | None:
    """Return the chat templates of a directory; None without any.

    Separate files replace what the config has.

    Args:
        directory: may have chat_template.jinja, and others in additional_chat_templates.
        config: its tokenizer_config.json.

    Raises:
        ModelFileError: a template is no text, or has no name.
    """
    files = {}
    if (directory / CHAT_TEMPLATE_FILE).is_file():
        files[DEFAULT_TEMPLATE] = directory / CHAT_TEMPLATE_FILE
    for path in sorted((directory / CHAT_TEMPLATE_FOLDER).glob(f"*{_SUFFIX}")):
        files[path.name.removesuffix(_SUFFIX)] = path
    if files.keys() == {DEFAULT_TEMPLATE}:
        return _read(files[DEFAULT_TEMPLATE])
    if files:
        return {name: _read(path) for name, path in files.items()}
    return _of_config(config.get("chat_template"), directory)


def as_config_value(template: ChatTemplate) -> str | list[dict[str, str]]:
    """Return templates as a tokenizer_config.json has them."""
    if isinstance(template, str):
        return template
    return [{"name": name, "template": text} for name, text in template.items()]


def _of_config(value: Any, directory: Path) -> ChatTemplate | None:
    if isinstance(value, list):
        named = all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in value)
        value = {each["name"]: each.get("template") for each in value} if named else value
    texts = value.values() if isinstance(value, dict) else [value]
    if value is None or (not isinstance(value, list) and all(isinstance(t, str) for t in texts)):
        return value
    raise ModelFileError(
        f"{directory}: chat_template is {shown(value)}; a text, or a list of objects with name and "
        "template, is allowed"
    )


def _read(path: Path) -> str:
    try:
        content = read_file(path, MAX_BYTES).decode("utf-8")
        return content.replace("\r\n", "\n").replace("\r", "\n")
    except TooLargeError as error:
        raise ModelFileError(f"{path} is too large for a chat template") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path} is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
