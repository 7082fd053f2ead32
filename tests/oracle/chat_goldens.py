#!/usr/bin/env python3
"""Records tests/goldens/chat_templates.json: conversations as transformers' own template engine renders them, and each template's hash.

TEMPLATES holds one file per template, NAME.jinja, with the text that a model of the family ships (chat_template of its
tokenizer_config.json, or chat_template.jinja). The texts are not kept here, only their hashes. Made with transformers 5.24.0; the date
that Llama-3.1 and later put into their system message is given as 26 Jul 2024, the one that their template falls back on.

    tests/oracle/chat_goldens.py TEMPLATES tests/goldens/chat_templates.json
"""
import hashlib
import json
import pathlib
import sys

from transformers.utils.chat_template_utils import render_jinja_template

USER = {"role": "user", "content": "What is a cache?"}
ANSWER = {"role": "assistant", "content": " A store.\n"}
MORE = {"role": "user", "content": "  And\n\na latent?\n"}
SYSTEM = {"role": "system", "content": "Be brief."}
THOUGHT = {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nA store."}
CONVERSATIONS = {"one": [USER], "padded": [MORE], "turns": [USER, ANSWER, MORE], "system": [SYSTEM, USER], "system-turns": [SYSTEM, USER, ANSWER, MORE],
                 "thought": [USER, THOUGHT, MORE]}


def normalized(text):
    return text.replace("\r\n", "\n").rstrip("\n")


golden = {"made_with": "transformers 5.24.0", "bos": "<BOS>", "eos": "<EOS>", "conversations": CONVERSATIONS, "templates": {}}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
    text = path.read_text(encoding="utf-8")
    rendered = {}
    for name, messages in CONVERSATIONS.items():
        try:
            rendered[name] = render_jinja_template([messages], chat_template=text, add_generation_prompt=True, bos_token="<BOS>", eos_token="<EOS>",
                                                   date_string="26 Jul 2024")[0][0]
        except Exception as error:  # the template's own refusal
            rendered[name] = None
            print(f"{path.stem} refuses {name}: {error}")
    golden["templates"][path.stem] = {"sha256": hashlib.sha256(normalized(text).encode()).hexdigest(), "rendered": rendered}
with open(sys.argv[2], "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
