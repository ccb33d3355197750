"""Chat templates: compiling them, and rendering a chat."""

import random as random_module
from pathlib import Path

from chat_templates import TEMPLATES
from fuzzing import Target, mutate_bytes

from gptneo_onnx.runtime.chat_template import ChatRenderer

MESSAGES = [
    {"role": "user", "content": "Hello " * 20},
    {"role": "assistant", "content": "Yes.", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]},
]
VALUES = {"tools": None, "bos_token": "<s>", "eos_token": "</s>"}
_EXPRESSIONS = (
    """
messages; x; 'a'; [x, x]; x ~ x; x + x; x * 9999999; 99 ** 99 ** 99; range(99999); f(x); f([x, x])
x.join(x); dict(a=x, b=x); namespace(a=x, b=x); messages[0].content; x is defined; messages[::-1]
raise_exception(x); '%99999d' % 1; '{:>99999}'.format(1); loop; ns; f; messages[1]
""".strip()
    .replace("\n", ";")
    .split(";")
)
_FILTERS = [
    "tojson(indent=2)",
    "join('a')",
    "string",
    "replace('','aaaa')",
    "center(99999)",
    "map('string')|list",
    "batch(3)|list",
    "sum(start=[])",
    "indent(9999)",
    "sort",
    "dictsort",
    "urlize",
    "wordwrap(1)",
    "trim",
    "length",
    "default(1)",
    "unique|list",
]
_STATEMENTS = """
{% set x = @ %}
{{ @ }}
{% set ns.x = @ %}
{% for x in @ %}{% set ns.x = x %}
{% endfor %}
{% if @ %}
{% endif %}
{% macro f(x) %}{{ @ }}{% endmacro %}
{% for i in range(40) %}{% set ns.x = @ %}{% endfor %}
{% with x = @ %}{{ x }}{% endwith %}
{% set x %}{{ @ }}{{ @ }}{% endset %}
{% generation %}{{ @ }}{% endgeneration %}
{% for x in @ recursive %}{{ loop(x) }}{% endfor %}
{% filter center(9) %}{{ @ }}{% endfilter %}
""".strip().splitlines()


def seeds() -> list[bytes]:
    return [template.encode() for template in TEMPLATES.values()]


def run(data: bytes, folder: Path) -> None:
    renderer = ChatRenderer(data.decode(errors="replace"), True, False, VALUES)
    text, spans = renderer.render(MESSAGES)
    assert all(0 <= start <= end <= len(text) for start, end in spans)


def _expression(random: random_module.Random) -> str:
    text = random.choice(_EXPRESSIONS)
    if random.random() < 0.4:
        text = f"({text})|{random.choice(_FILTERS)}"
    return text.replace("x", "ns.x", 1) if random.random() < 0.4 else text


def mutate(random: random_module.Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change bytes, or write a template of statements that may not end, or not fit memory."""
    if random.random() < 0.3:
        return mutate_bytes(random, data, seeds)
    lines = ["{% set ns = namespace(x='a') %}{% set x = 'ab' %}"]
    for _ in range(random.randint(1, 12)):
        lines.append(random.choice(_STATEMENTS).replace("@", _expression(random)))
    return "".join(lines).encode()


TARGET = Target(seeds, run, mutate)
