"""GenerationConfig: the arguments of generate(), with transformers' names, defaults and methods."""

import copy
import os
from collections.abc import Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any, Unpack

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.generation_settings import DEFAULT_LENGTH, from_model_config
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE, record_files
from gptneo_onnx.runtime.companion_files import check_generation_links
from gptneo_onnx.runtime.generation.config_checks import (
    CALL_ARGUMENTS,
    check_unknown,
    check_values,
    strict_message,
    without_effect,
)
from gptneo_onnx.runtime.generation.config_fields import (
    attributes_section,
    read_token,
    read_tokens,
)
from gptneo_onnx.runtime.generation.config_file import (
    FROM_MODEL_CONFIG,
    all_values,
    differing_values,
    json_text,
)
from gptneo_onnx.runtime.generation.field_types import GenerationArguments
from gptneo_onnx.runtime.generation.generation_fields import (
    DEFAULT_VALUES,
    FIELDS,
    KEPT,
    GenerationFields,
)
from gptneo_onnx.runtime.generation.generation_mode import GenerationMode, generation_mode
from gptneo_onnx.runtime.generation.processors.checks import plain
from gptneo_onnx.runtime.generation.processors.watermarking import coerce_watermark

DEFAULT_NEW_TOKENS = DEFAULT_LENGTH

# What transformers knows of a config and keeps to itself.
_OF_THE_HUB = ("_commit_hash", "_original_object_hash", "_from_auto", "_from_pipeline")
_HUB_ARGUMENTS = (
    "cache_dir",
    "force_download",
    "local_files_only",
    "token",
    "revision",
    "proxies",
    "resume_download",
    "use_auth_token",
)
# Fields that can be None; for any other field, None makes updated() restore the default.
_NONE_COUNTS = ("top_k", "max_length")


class GenerationConfig(GenerationFields):
    """The arguments of generate() as transformers.GenerationConfig has them.

    Values are kept as they are given. generate() checks those that it uses; validate() runs the
    checks of transformers that need no call, and so do the constructor and update().

    Raises:
        InputError: an unknown name, or a value that no call can use.
    """

    def __init__(self, **kwargs: Unpack[GenerationArguments]) -> None:
        for name, value in kwargs.items():
            if name not in DEFAULT_VALUES and name not in CALL_ARGUMENTS:
                check_unknown(name, value)
        self._set(kwargs)

    def _set(self, values: Mapping[str, Any]) -> None:
        """Make the values those of a new config; names without a field become attributes."""
        own = {name: value for name, value in values.items() if name not in _OF_THE_HUB}
        self.__dict__.update({**DEFAULT_VALUES, FROM_MODEL_CONFIG: False, **own})
        self.__dict__["watermarking_config"] = coerce_watermark(self.watermarking_config)
        self.__dict__["_explicit"] = frozenset()
        self.validate()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; validate() or the next call checks it, as in transformers.

        Raises:
            InputError: there is no such field.
        """
        if name not in self.__dict__ and not name.startswith("_"):
            check_unknown(name, value)
        if name == "watermarking_config":
            value = coerce_watermark(value)
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GenerationConfig):
            return NotImplemented
        texts = [
            each.to_json_string(use_diff=False, ignore_metadata=True) for each in (self, other)
        ]
        return texts[0] == texts[1]

    def __hash__(self) -> int:
        return hash(self.to_json_string(use_diff=False, ignore_metadata=True))

    def __dir__(self) -> list[str]:
        """List the fields and public methods: the other names are of no use to callers."""
        return [name for name in super().__dir__() if name[:1] != "_" or name[:2] == "__"]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Make a config from names and values; other names become attributes, as in transformers.

        Args:
            config_dict: names and values.
            kwargs: values that replace those.

        Keyword Args:
            return_unused_kwargs: whether to return (config, {}): as in transformers, none is
                unused.

        Raises:
            InputError: a value that no call can use.
        """
        returns_unused = kwargs.pop("return_unused_kwargs", False)
        config = cls.__new__(cls)
        config._set({**config_dict, **kwargs})
        return (config, {}) if returns_unused else config

    @classmethod
    def from_model_config(cls, model_config: Any) -> "GenerationConfig":
        """Make a config of what a model's config sets for generation, as old checkpoints do.

        Args:
            model_config: a dict as config.json has it, or an object with to_dict().
        """
        to_dict = getattr(model_config, "to_dict", None)
        values = to_dict() if callable(to_dict) else model_config
        values = values if isinstance(values, Mapping) else vars(values)
        return _made(cls, {**from_model_config(values), FROM_MODEL_CONFIG: True})

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read the generation_config.json of a directory.

        Args:
            pretrained_model_name: a directory, or the file itself.
            config_file_name: the file's name, if it is another.
            kwargs: values that replace the file's, and `subfolder`; those that transformers has for
                downloads are passed over.

        Keyword Args:
            return_unused_kwargs: as in from_dict().

        Raises:
            ModelFileError: the file is missing or damaged, or a value is one that no call can use.
        """
        path = Path(pretrained_model_name) / kwargs.pop("subfolder", "")
        if not path.is_file():
            check_generation_links(path)
            path /= config_file_name or GENERATION_CONFIG_FILE
        own = {name: value for name, value in kwargs.items() if name not in _HUB_ARGUMENTS}
        values = read_json_object(path)
        try:
            return cls.from_dict(values, **own)
        except InputError as error:
            raise ModelFileError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return copies of all values, under transformers' names.

        A `seed`, which only this project has, is there if it is set. compile_config is left out, as
        in transformers. A watermarking_config is a dict.
        """
        return all_values(self.__dict__)

    def to_diff_dict(self) -> dict[str, Any]:
        """Return those of to_dict() that differ from the defaults, and transformers_version."""
        return differing_values(self.to_dict())

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """Return to_diff_dict(), or else to_dict(), as JSON with sorted names.

        A dict of sequence_bias is [[[id, ...], bias], ...] there, which can be read again.

        Args:
            use_diff: whether defaults are left out.
            ignore_metadata: whether transformers_version is left out.
        """
        return json_text(self.to_diff_dict() if use_diff else self.to_dict(), ignore_metadata)

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write to_json_string(use_diff) to a file; raises OSError."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write generation_config.json into a directory, such as a checkpoint before its export.

        Args:
            save_directory: is made if it is missing.
            config_file_name: the file's name, if it is to be another.
            push_to_hub: must be False.
            kwargs: transformers' for the hub; passed over.

        Raises:
            InputError: validate(strict=True) refuses the config, or save_directory is a file.
            OSError: it cannot be written.
        """
        self.validate(strict=True)
        directory = Path(save_directory)
        if push_to_hub:
            raise InputError("push_to_hub is True; False is allowed: the runtime has no network")
        if directory.is_file():
            raise InputError(f"save_directory is the file {directory}; pass a directory")
        directory.mkdir(parents=True, exist_ok=True)
        name = str(config_file_name or GENERATION_CONFIG_FILE)
        self.to_json_file(directory / name)
        if name == GENERATION_CONFIG_FILE:
            record_files(directory, name)

    def validate(self, strict: bool = False) -> None:
        """Check what can be checked without a call.

        Args:
            strict: whether values that cannot have an effect are errors, too.

        Raises:
            InputError: a value that no call can use.
        """
        check_values(self.__dict__)
        if strict and (names := without_effect(self.__dict__)):
            raise InputError(strict_message(names))

    def get_generation_mode(self, assistant_model: Any = None) -> GenerationMode:
        """Return the way to generate that the config asks for, with an assistant_model or not."""
        return generation_mode(self, assistant_model is not None)

    def update(self, **kwargs: Any) -> dict[str, Any]:
        """Set those of kwargs that the config has; return the others.

        Raises:
            InputError: a value that no call can use; then nothing is set.
        """
        known = {name: value for name, value in kwargs.items() if name in self.__dict__}
        changed = copy.copy(self)
        for name, value in known.items():
            setattr(changed, name, value)
        changed.validate()
        self.__dict__.update(changed.__dict__)
        return {name: value for name, value in kwargs.items() if name not in known}

    def updated(self, **changes: Unpack[GenerationArguments]) -> "GenerationConfig":
        """Return a copy with other values, as a call of generate() that they are passed to has it.

        None resets a field to its default, or is top_k's off. These values win over a model's own
        config even at their defaults.

        Raises:
            InputError: an unknown name, or a value that no call can use.
        """
        changed = copy.copy(self)
        for name, value in changes.items():
            if name not in self.__dict__:
                check_unknown(name, value)
                continue
            is_reset = value is None and name not in _NONE_COUNTS
            setattr(changed, name, DEFAULT_VALUES.get(name) if is_reset else value)
        changed.__dict__["_explicit"] = explicit_names(self).union(changes)
        changed.validate()
        return changed

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The end tokens: none, one or several."""
        ids = plain(self.eos_token_id)
        return () if ids is None else read_tokens("eos_token_id", ids) or ()

    @property
    def fill_token_id(self) -> int:
        """The token that fills up finished sequences."""
        if self.pad_token_id is not None:
            return read_token("pad_token_id", plain(self.pad_token_id))
        return self.eos_token_ids[0] if self.eos_token_ids else 0


def explicit_names(config: GenerationConfig) -> frozenset[str]:
    """Return the names that updated() was given."""
    return frozenset(vars(config).get("_explicit", ()))


def _made(cls: type[GenerationConfig], values: Mapping[str, Any]) -> GenerationConfig:
    config: GenerationConfig = cls.from_dict(values)
    return config


GenerationConfig.__doc__ = "\n\n".join(
    [cleandoc(GenerationConfig.__doc__ or ""), attributes_section(FIELDS, KEPT)]
)
