"""Chat templates that take all time or memory are refused; others write what they wrote."""

import pytest
from refusals import refused

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.chat_template import ChatRenderer

MESSAGES = [{"role": "user", "content": "Hi  "}, {"role": "assistant", "content": "Yes"}]
_LOOP = "{% set ns = namespace(x='a') %}{% for i in range(60) %}"


def render(template: str) -> str:
    return ChatRenderer(template, True, False, {"bos": "<s>"}).render(MESSAGES)[0]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "long"),
        ("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
         "too long"),
        ("{% for x in [1, 2] recursive %}{{ loop([1, 2]) if loop.depth < 60 }}{% endfor %}",
         "too long"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 'a' * 10 ** 12 }}", "something of size 1000000000000"),
        ("{{ 10 ** 12 * [0] }}", "something of size 1000000000000"),
        ("{{ 10 ** (99 ** 99) }}", "too large numbers"),
        ("{{ (2 ** 90000) * (2 ** 90000) }}", "too large numbers"),
        ("{{ '%0999999999d' % 1 }}", "a width of five digits"),
        ("{{ '%0999999999d'|format(1) }}", "a width of five digits"),
        ("{{ '%*d' % (10 ** 9, 1) }}", "a width of five digits"),
        ("{{ '{:>999999999}'.format(1) }}", "a width of five digits"),
        ("{{ '{:{w}}'.format(1, w='999999999') }}", "a width of five digits"),
        ("{{ 'a'.ljust(10 ** 10) }}", "ljust with a number beyond 10000"),
        ("{{ 'a'|center(10 ** 10) }}", "center with a number beyond 10000"),
        ("{{ 'a'|indent(10 ** 10, true) }}", "indent with a number beyond 10000"),
        ("{{ messages|tojson(indent=10 ** 9) }}", "tojson with a number beyond 10000"),
        ("{{ 1.5|round(10 ** 9) }}", "round with a number beyond 10000"),
        ("{{ range(9)|slice(10 ** 9)|list }}", "slice with a number beyond 10000"),
        ("{{ 'aaaa'.replace('', 'b' * 1000000) }}", "something of size 500000"),
        ("{{ 'aaaa'|replace('', 'b' * 1000000) }}", "something of size 500000"),
        ("{{ range(100000)|join('x' * 1000000) }}", "something of size 100000000000"),
        ("{{ ('x' * 1000000).join(range(9999)|map('string')|list) }}", "something of size 9999"),
        ("{{ range(100000)|map('string')|map('center', 9999)|join }}", "too long"),
        ("{{ ([[1]] * 100000)|sum(start=[]) }}", "something of size"),
        ("{{ 'a'.translate({97: 'b' * 1000000}) }}", "it calls translate"),
        ("{{ lipsum(n=10 ** 9) }}", "'lipsum' is undefined"),
        (_LOOP + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "something of size|long"),
        (_LOOP + "{% set ns.x = ns.x + ns.x %}{% endfor %}", "something of size|long"),
        (_LOOP + "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
         "something of size|long"),
        (_LOOP + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "something of size|long"),
        (_LOOP + "{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
         "something of size|long"),
        ("{% macro f(x, n) %}{{ f([x, x], n - 1) if n else x }}{% endmacro %}{{ f([1], 40) }}",
         "something of size|long"),
        ("{{ raise_exception(99 ** (99 ** 9)) }}", "too large numbers"),
        ("{{ raise_exception(99 ** 5000) }}", "TemplateError"),
        ("{{ raise_exception('no\x1b[31m') }}", r"no\\x1b\[31m"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
    ],
)  # fmt: skip
def test_what_would_take_all_time_or_memory_is_refused(template: str, reason: str) -> None:
    with refused(InputError, f"the chat template refuses the chat: .*{reason}"):
        render(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "1+" * 20_000 + "1 }}",
        "{{ " + "not " * 20_000 + "1 }}",
        "{% if a %}" * 200 + "{% endif %}" * 200,
        "{% for a in",
        "x" * 1_000_001,
    ],
    ids=lambda template: template[:12],
)
def test_a_template_that_cannot_be_compiled(template: str) -> None:
    with refused(InputError, "the chat template (cannot be read: |has 1000001 characters)"):
        render(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}{{ m.role }}:{{ m['content']|trim }}{{ '\\n' }}{% endfor %}",
         "user:Hi\nassistant:Yes\n"),
        ("{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.revindex0 }}"
         "{{ loop.first }}{{ loop.last }}{{ loop.nextitem is defined }} {% endfor %}",
         "1/21TrueFalseTrue 2/20FalseTrueFalse "),
        ("{% for m in messages if m.role == 'user' %}{{ m.role }}{% else %}none{% endfor %}",
         "user"),
        ("{% for m in messages[5:] %}x{% else %}none{% endfor %}", "none"),
        ("{{ 'a' ~ none ~ 1 ~ nothing ~ 1.5 ~ true }}", "aNone11.5True"),
        ("{{ messages|map(attribute='role')|join(', ') }}", "user, assistant"),
        ("{{ messages|selectattr('role', 'equalto', 'user')|list|length }}", "1"),
        ("{{ '%s-%03d' % ('a', 3) }}{{ '{:>4}|{}'.format('a', 1) }}", "a-003   a|1"),
        ("{{ x|default(100000000) }}{{ 2 ** 10 }}{{ 7 // 2 }}{{ -3 % 5 }}", "100000000102432"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
         "{% endfor %}{{ ns.n }}", "2"),
        ("{% macro f(x, y='d') %}{{ x }}{{ y }}{% endmacro %}{{ f('a') }}{{ f(1, 2) }}", "ad12"),
        ("{% with a = 'b' %}{{ a|upper }}{% endwith %}{{ bos }}", "B<s>"),
        ("{{ messages[0]|tojson }}", '{"role": "user", "content": "Hi  "}'),
        ("{{ messages[0].items()|list|first|last }}", "user"),
        ("{{ 'a,b'.split(',')|last }}{{ 'ab'.replace('b', 'c') }}{{ ' '.join(['x', 'y']) }}",
         "bacx y"),
        ("{% for k, v in {'a': 1}|dictsort %}{{ k }}{{ v }}{% break %}{% endfor %}", "a1"),
    ],
)  # fmt: skip
def test_other_templates_write_what_jinja_writes(template: str, text: str) -> None:
    assert render(template) == text


def test_a_long_chat_is_no_hostile_one() -> None:
    turn = "{{ '<|' + message.role + '|>' + message.content|trim + bos }}"
    template = "{% for message in messages %}" + turn + "{% endfor %}"
    chat = [{"role": "user", "content": "word " * 1000}] * 100
    text, _ = ChatRenderer(template, False, False, {"bos": "<s>"}).render(chat)
    assert text == ("<|user|>" + "word " * 999 + "word<s>") * 100
