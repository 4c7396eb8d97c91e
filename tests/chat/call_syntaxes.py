"""Ways in which chat templates write tool calls."""

TOOLS = [
    {"type": "function", "function": {"name": name, "description": "", "parameters": {
        "type": "object", "properties": {"tile": {"type": "string"}, "near": {"type": "integer"}}}}}
    for name in ("find_tile", "find")
]  # fmt: skip
ARGUMENTS = [{"tile": 'it\'s "7"\nor {8}', "near": 3}, {"near": -1, "tile": "12"}]
HEAD = "{% if tools %}<file_sep>{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>{% endif %}"
SYNTAXES = {
    "an object in tags": "<tool_call>\n{{ c.function | tojson }}\n</tool_call>",
    "an object with other keys":
        '[{"tool": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}]',
    "a name before the object": "<file_sep>{{ c.function.name }}<gh_stars>{{ c.function.arguments | tojson }}",
    "a name with a number":
        "functions.{{ c.function.name }}:{{ loop.index0 }}<gh_stars>{{ c.function.arguments | tojson }}",
    "arguments in tags": "<call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments.items() %}"
    "<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</call>",
}  # fmt: skip


def template(call):
    return HEAD + (
        "{% for m in messages %}<file_sep>{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}" + call
        + "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<file_sep>assistant:{% endif %}"
    )  # fmt: skip
