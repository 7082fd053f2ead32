#!/usr/bin/env python3
"""Records tests/goldens/jieba.json: where jieba 0.42.1 cuts the Chinese LongBench texts. Numbers and hashes only.

    tests/oracle/jieba_goldens.py DATA_ROOT tests/goldens/jieba.json
"""
import hashlib
import json
import sys
from pathlib import Path

import jieba

root, out = Path(sys.argv[1]), sys.argv[2]
golden = {"made_with": "jieba 0.42.1"}
for name in ("multifieldqa_zh", "passage_retrieval_zh"):
    content = (root / "longbench" / f"{name}.jsonl").read_bytes()
    tokens, hashes = [], []
    for line in content.decode().split("\n"):
        if not line:
            continue
        item = json.loads(line)
        cuts = [[str(len(token)) for token in jieba.cut(text)] for text in [item["context"], item["input"], *item["answers"]]]
        tokens.append(sum(map(len, cuts)))
        hashes.append(hashlib.sha256(";".join(",".join(cut) for cut in cuts).encode()).hexdigest()[:8])
    golden[name] = {"sha256": hashlib.sha256(content).hexdigest(), "tokens": tokens, "hashes": "".join(hashes)}
with open(out, "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
