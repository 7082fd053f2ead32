#!/usr/bin/env python3
"""llama.cpp loads an export of `--for llama.cpp`; its token ids and logits are held against ours of the same file.

    tests/oracle/llama_cpp_logits.py LOGITS TOKENIZE_LINES MODEL.gguf

LOGITS and TOKENIZE_LINES are the built programs tests/logits and tests/tokenize_lines. Wants llama-cpp-python 0.3.16 (llama.cpp of August
2025). llama.cpp computes parts of its products in 16 bits, so the logits are close, not equal: exits 1 where KL exceeds 1e-4 nats or the ids differ.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
from llama_cpp import Llama

logits, tokenize, path = sys.argv[1:]
TEXT = ("A cache keeps what was computed once, so that it need not be computed again. In 1905 the town had 12,480 inhabitants, "
        "two mills and a railway station.")
F32 = 0  # of ggml, for the cache
llama = Llama(path, n_ctx=256, n_batch=256, logits_all=True, verbose=False, type_k=F32, type_v=F32)
ids = llama.tokenize(TEXT.encode(), add_bos=False, special=False)
llama.eval(ids)
theirs = numpy.array(llama.scores[:len(ids)], dtype=numpy.float64)
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "ids.json").write_text(json.dumps([ids]))
    subprocess.run([logits, path, "fp32", folder / "ids.json", folder / "out.f32"], check=True)
    ours = numpy.fromfile(folder / "out.f32", dtype=numpy.float32).reshape(len(ids), -1).astype(numpy.float64)
lines = subprocess.run([tokenize, path], input=json.dumps(TEXT) + "\n", capture_output=True, text=True, check=True).stdout
same_ids = json.loads(lines) == ids


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(-1, keepdims=True))


p, q = log_softmax(ours), log_softmax(theirs)
kl = (numpy.exp(p) * (p - q)).sum(-1).mean()
print(f"ids equal: {same_ids}; largest logit difference {abs(ours - theirs).max():.3g} of {abs(ours).max():.3g}, KL {kl:.3g} nats, "
      f"same top token {(ours.argmax(-1) == theirs.argmax(-1)).mean():.3f} over {len(ids)} tokens")
sys.exit(0 if same_ids and kl <= 1e-4 else 1)
