#!/usr/bin/env python3
"""Records tests/goldens/python_random.json: what CPython's random.Random draws. Made with Python 3.11.7.

    tests/oracle/random_goldens.py tests/goldens/python_random.json
"""
import hashlib
import json
import random
import sys

SEEDS = [0, 1, 42, 1234, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 10**18, 2**64 - 1]
# Both sides of each switch from pool to set: 21 up to k = 5, then 21 + 4**ceil(log4(3k)).
SIZES = [(0, 0), (1, 1), (5, 5), (21, 5), (22, 5), (85, 6), (86, 6), (85, 21), (277, 22), (278, 22), (1045, 85), (1046, 86), (7473, 5),
         (7473, 8), (100000, 25), (1000, 1000)]

cases = []
for seed in SEEDS:
    source = random.Random(seed)
    cases.append({
        "seed": str(seed),
        "random": [source.random() for _ in range(400)][-8:],  # past the first refill of 624 words
        "bits": [[bits, str(source.getrandbits(bits))] for bits in (1, 5, 31, 32, 33, 47, 63, 64)],
        "below": [[n, source.randrange(n)] for n in (1, 2, 3, 7, 1000, 2**31, 2**32, 2**40 + 1)],
        "samples": [[n, k, hashlib.sha256(json.dumps(source.sample(range(n), k)).encode()).hexdigest()[:16]] for n, k in SIZES],
    })
    items = list(range(100))
    source.shuffle(items)
    cases[-1]["shuffle"] = items
    cases[-1]["after"] = source.random()
shots = random.Random(1234)  # lm-evaluation-harness draws the five shots of item after item from one source
golden = {"made_with": "CPython " + sys.version.split()[0], "cases": cases,
          "gsm8k_shots": [shots.sample(range(7473), 5) for _ in range(50)]}
with open(sys.argv[1], "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
