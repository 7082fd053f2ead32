#!/usr/bin/env python3
"""What TransMLA itself costs on our benchmark, in wall and CPU seconds: calibrate, convert, perplexity of three stages.

Wants Python with torch 2.11.0, transformers 4.52.4, datasets and gguf, and a checkout of TransMLA (MuLabPKU/TransMLA, folder
with transmla/partial_rope.py). Samples and windows are given as token ids, so both programs see the same tokens:

    tests/oracle/transmla_cost.py --transmla FOLDER --model DIR/FILE.gguf --calibration tests/goldens/calibration_tokens.json \
        --windows windows.json --freqfold 4 --kv-lora-rank 256 --threads 2

windows.json holds a list of lists of token ids, one per window. Loading the model is not counted. Prints one JSON object.
The counterpart is the sum of `cpu_seconds` of `mlaforge run --format json` without "load".
"""
import argparse
import json
import os
import resource
import sys
import time

parser = argparse.ArgumentParser()
for name in ("--transmla", "--model", "--calibration", "--windows"):
    parser.add_argument(name, required=True)
parser.add_argument("--freqfold", default="4")
parser.add_argument("--kv-lora-rank", type=int, default=256)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, os.path.join(args.transmla, "transmla"))
from lora_qkv import low_rank_qkv
from partial_rope import partial_rope
from utils import evaluate_ppl

torch.set_num_threads(args.threads)


class PadToken:  # partial_rope and low_rank_qkv read nothing else of a tokenizer
    pad_token_id = None


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def batch_of(ids):
    ids = torch.tensor(ids)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


calibration = [batch_of(batch["input_ids"]) for batch in json.load(open(args.calibration))["batches"]]
windows = json.load(open(args.windows))
test = [batch_of(windows[i:i + 2]) for i in range(0, len(windows), 2)]
folder, file = os.path.split(os.path.abspath(args.model))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, torch_dtype=torch.float32, attn_implementation="sdpa")
model.config.head_dim = model.config.hidden_size // model.config.num_attention_heads

wall, cpu = time.time(), cpu_seconds()
original = evaluate_ppl(model, None, test)
options = dict(freqfold=int(args.freqfold), collapse=model.config.head_dim // 64, qk_mqa_dim=64, q_lora_rank=None,
               kv_lora_rank=args.kv_lora_rank, balance_kv_ratio=1, use_qkv_norm=False, deepseek_style=False,
               ppl_eval_batch_size=2, dtype="fp32", device="cpu")
model = partial_rope(model, PadToken, calibration, test, **options)
model = model[0] if isinstance(model, tuple) else model
model = low_rank_qkv(model, PadToken, calibration, test, **options)
print(json.dumps({"seconds": time.time() - wall, "cpu_seconds": cpu_seconds() - cpu, "original_ppl": original,
                  "torch": torch.__version__, "threads": args.threads}))
