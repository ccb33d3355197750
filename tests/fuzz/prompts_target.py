"""The file of --prompts, as JSON lines and as text; what its lines hold must go into JSON again.

An input is `jsonl` or `txt`, a zero byte, and the content.
"""

import json
from pathlib import Path

from fuzzing import Random, Target, mutate_bytes, mutate_json

from gptneo_onnx.runtime.cli.prompt_file import read_prompts

OBJECT = {"prompt": "She was", "id": 7, "tags": ["a", {"b": 0.5}], "text": "kept"}


def seeds() -> list[bytes]:
    lines = [json.dumps(OBJECT), '"Sir"', '{"text": "a\\nb"}', ""]
    contents = [lines[0], "\n".join(lines), "\r\n".join(lines)]
    return [b"jsonl\0" + each.encode() for each in contents] + [b"txt\0She was\r\n\nSir"]


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    kind, _, content = data.partition(b"\0")
    change = mutate_json if random.random() < 0.5 else mutate_bytes
    return kind + b"\0" + change(random, content, seeds)


def run(data: bytes, folder: Path) -> None:
    kind, _, content = data.partition(b"\0")
    path = folder / ("prompts.jsonl" if kind == b"jsonl" else "prompts.txt")
    path.write_bytes(content)
    for prompt in read_prompts(str(path)):
        prompt.text.encode()
        json.dumps({**prompt.others, "prompt": prompt.text}, allow_nan=False)


TARGET = Target(seeds, run, mutate)
