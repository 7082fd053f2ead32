#!/usr/bin/env python3
"""Records tests/goldens/tokenizer.json: token ids that the package `tokenizers` gives with SmolLM2's GGUF vocabulary.

Wants Python with tokenizers 0.21.4, gguf 0.19.0 and unicodedata2 15.0.0 (the assigned code points of Unicode 15).

    tests/oracle/tokenizer_goldens.py MODEL.gguf WIKITEXT2_TEST.txt tests/goldens/tokenizer.json
"""
import hashlib
import json
import struct
import sys

import unicodedata2
from gguf import GGUFReader
from tokenizers import Tokenizer, models, pre_tokenizers

from splitmix64 import splitmix64

assert unicodedata2.unidata_version.startswith("15.")
model, wikitext, out = sys.argv[1:]

LINES = [
    "", " ", "  ", "\t", "\n", "\r\n", "a", " a", "a ", "  two  spaces  ", "\n\n\nthree lines\n \n",
    "def f(x: int) -> str:\n    return f\"{x:>8}\" if x % 2 else None\n",
    "#include <vector>\nint main() {\n\tstd::vector<int> v{1, 22, 333};\n\treturn v[0] ^ ~v[1] >> 2;\n}\n",
    "for (let i = 0; i < 10; ++i) { console.log(`${i}\\n`); } // done",
    "SELECT a.*, count(*) FROM t AS a WHERE a.x <> 'it''s' GROUP BY 1;",
    "\\frac{\\partial L}{\\partial w_{ij}} = \\sum_k \\delta_k x_j",
    "<|im_start|>user\nplain text here<|im_end|>",
    "I'll, you'd, it's, we're, they've, I'm, don't; I'LL, IT'S, DON'T",
    "it\u2019s a typographic apostrophe, \u201cquoted\u201d \u2014 and an em dash\u2026",
    "1234567890 3.14159 1,000,000 0x1F 12e-4",
    "\u0661\u0662\u0663 \u0967\u0968\u0969 \uff11\uff12 \u00bd \u00b2\u00b3 \u2163 \u2462 \u3007",
    "Stra\u00dfe, na\u00efve, fa\u00e7ade, \u0141\u00f3d\u017a, \u00c5ngstr\u00f6m, \u0130stanbul",
    "e\u0301 a\u0308\u0323 Z\u0351\u036b\u0343 n\u0303",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0429\u0443\u043a\u0430 \u0438 \u0457\u0436\u0430\u043a",
    "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u03ba\u03cc\u03c3\u03bc\u03b5",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u06f1\u06f2\u06f3",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u4eca\u5929\u662f2024\u5e74\u3002",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3001\u30ab\u30bf\u30ab\u30ca\u30fc",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4 \u1112\u1161\u11ab",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f",
    "\U0001d54f\U0001d4ea \U00020000\U0002a6d6 \U00010330",
    "no\u00a0break \u3000wide\u3000 \u2028line\u2029para\u0085next \u200bzero\ufeff",
    "tab\tand\x0bvertical\x0cfeed\x1f unit", "nul\x00inside", "bell\x07 \x7f delete",
    "a" * 300, "ab" * 200 + " " + "=" * 150, " " * 77 + "x", "\n" * 33 + "\t" * 9,
    "https://example.org/a/b?c=d&e=%20f#g user@example.org", "$100 \u20ac50 \u00a320 \u20bf1 5\u00b0C \u00b13 \u2260 \u2264",
    "CamelCaseWord snake_case_word SCREAMING_CASE kebab-case-word",
    "con\x04trol \x06 th\x13e \x14\x16\x1d", "far\U00040000plane \U000bffffs",  # bytes that the vocabulary lacks
]


def strings_of(points, count):
    """The strings that the C++ test makes: 1 to 24 assigned code points each."""
    numbers = splitmix64(15)
    for _ in range(count):
        size = 1 + next(numbers) % 24
        yield "".join(chr(points[next(numbers) % len(points)]) for _ in range(size))


def sha256_of(id_lists):
    digest = hashlib.sha256()
    for ids in id_lists:
        digest.update(struct.pack(f"<{len(ids)}i", *ids))
    return digest.hexdigest()


reader = GGUFReader(model)


def texts(key):
    field = reader.fields[key]
    return [bytes(field.parts[i]).decode() for i in field.data]


vocabulary = {token: i for i, token in enumerate(texts("tokenizer.ggml.tokens"))}
merges = [tuple(merge.split(" ", 1)) for merge in texts("tokenizer.ggml.merges")]
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


def encode(text):
    return tokenizer.encode(text, add_special_tokens=False).ids


# Everything assigned but surrogates and private use.
points = [c for c in range(0x110000) if unicodedata2.category(chr(c)) not in ("Cn", "Cs", "Co")]
ranges = []
for c in points:
    if ranges and ranges[-1][1] == c - 1:
        ranges[-1][1] = c
    else:
        ranges.append([c, c])
random_ids = [encode(text) for text in strings_of(points, 10000)]
wikitext_ids = encode(open(wikitext, encoding="utf-8", newline="").read())
golden = {
    "made_with": "tokenizers 0.21.4, gguf 0.19.0, unicodedata2 15.0.0",
    "wikitext2_test": {"tokens": len(wikitext_ids), "sha256": sha256_of([wikitext_ids])},
    "lines": [{"text": text, "ids": encode(text)} for text in LINES],
    "random": {"assigned_points": len(points), "assigned_ranges": ranges, "tokens": sum(map(len, random_ids)), "sha256": sha256_of(random_ids),
               "blocks_of_100": [sha256_of(random_ids[i:i + 100])[:8] for i in range(0, 10000, 100)]},
}
with open(out, "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
