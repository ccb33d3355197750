"""Chat templates as models have them, and chats."""

CHATML = """\
{% for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

STRICT = """\
{{ bos_token }}{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}\
{% if message['role'] == 'user' %}[INST] {{ message['content'].strip() }} [/INST]\
{% else %}{{ message['content'].strip() }}{{ eos_token }}{% endif %}{% endfor %}"""

GENERATION = """\
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content + eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- message.role + ': ' + message.content + '\\n' }}
    {%- endif %}
{%- endfor %}
"""

TOOLS = """\
{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}
{%- if documents %}{% for d in documents %}{{ d.title }}|{{ d.text }}
{% endfor %}{% endif -%}
{% for message in messages %}{% if message.role == 'skip' %}{% continue %}{% endif %}
{{ message | tojson }}{{ pad_token is defined }}{{ mood }}{{ strftime_now('%Y') }}
{% endfor %}"""

TEMPLATES = {"chatml": CHATML, "strict": STRICT, "generation": GENERATION, "tools": TOOLS}

TALK = [
    {"role": "user", "content": "  She was <fond> of whom? \u2603 "},
    {"role": "assistant", "content": "Of Mr. Darcy."},
]
CHATS = [
    TALK[:1],
    TALK,
    [*TALK, {"role": "user", "content": "hello & good-bye"}],
    [{"role": "system", "content": "be kind"}, *TALK],
    [*TALK, *TALK],
]
