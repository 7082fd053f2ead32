#!/usr/bin/env python3
"""Records tests/goldens/characters.json: white space, \\d, \\w and lower case of every assigned character. Made with CPython 3.11
(Unicode 14), standard library only.

    tests/oracle/characters_goldens.py tests/goldens/characters.json
"""
import hashlib
import json
import re
import sys
import unicodedata

BLOCK = 4096
ranges = []
texts = {}
for point in range(0x110000):
    char = chr(point)
    if unicodedata.category(char) in ("Cn", "Cs", "Co"):
        continue
    if ranges and ranges[-1][1] == point - 1:
        ranges[-1][1] = point
    else:
        ranges.append([point, point])
    marks = "".join(str(int(bool(re.fullmatch(kind, char)))) for kind in (r"\s", r"\d", r"\w"))
    lower = ",".join(f"{ord(c):x}" for c in char.lower())
    texts.setdefault(point // BLOCK, []).append(f"{point:x} {marks} {lower}\n")
golden = {"made_with": f"CPython {sys.version.split()[0]}, Unicode {unicodedata.unidata_version}", "assigned_ranges": ranges,
          "blocks_of_4096": {str(block): hashlib.sha256("".join(lines).encode()).hexdigest()[:16] for block, lines in texts.items()}}
with open(sys.argv[1], "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
