#!/usr/bin/env python3
"""Records tests/goldens/lm_eval_answers.json: the log-likelihoods that lm-evaluation-harness itself computes for choices, at fp32, and its scores.

The model is the GGUF file dequantised by transformers, the requests are those of tasks_goldens.py (lm-eval's own task files over rebuilt
rows), the numbers come out of lm_eval's HFLM. Prints items per second, for docs/performance.md.

Wants what tasks_goldens.py wants, and torch 2.11.0 and transformers 5.24.0:

    tests/oracle/lm_eval_answers.py MODEL.gguf DATA_ROOT tests/goldens/lm_eval_answers.json [ITEMS [BATCH [THREADS [DTYPE]]]]

DTYPE float64 in place of float32 tells which of two programs that differ at fp32 is nearer to the exact value.
"""
import json
import os
import sys
import tempfile
import time

arguments, sys.argv = sys.argv, sys.argv[:4]
import tasks_goldens as tasks  # reads the first three arguments

import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

items, batch, threads = [int(n) for n in arguments[4:7]] + [200, 8, 2][len(arguments) - 4:]
dtype = getattr(torch, arguments[7]) if len(arguments) > 7 else torch.float32
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(os.path.dirname(tasks.model), gguf_file=os.path.basename(tasks.model), dtype=dtype)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tasks.smollm2_tokenizer(), eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|im_end|>")
judge = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=2048, device="cpu")

golden, scores = {}, {}
with tempfile.TemporaryDirectory() as folder:
    for name, (file, source, rebuild, split) in tasks.TASKS.items():
        rows = [rebuild(row) for row in json.load(open(os.path.join(tasks.root, "mc", source + ".json"), encoding="utf-8"))]
        task = tasks.lm_eval_task(folder, name, file, {split: tasks.write_rows(os.path.join(folder, name + ".jsonl"), rows)})
        task.set_fewshot_seed(1234)
        docs, requests, counts = list(task.eval_docs)[:items], [], []
        for doc in docs:
            own = task.construct_requests(doc, task.fewshot_context(doc, 0), metadata=(name, 0, 1), doc_id=0)
            counts.append(len(own))
            requests += own
        start = time.time()
        answers = judge.loglikelihood(requests, disable_tqdm=True)
        print(f"{name}: {items / (time.time() - start):.3f} items/s at batch {batch}, {threads} threads", flush=True)
        values = iter(answers)
        golden[name] = [[round(next(values)[0], 5) for _ in range(count)] for count in counts]
        results = [task.process_results(doc, [(value, False) for value in row]) for doc, row in zip(docs, golden[name])]
        scores[name] = {metric: sum(result[metric] for result in results) / items for metric in ("acc", "acc_norm") if metric in results[0]}
json.dump({"made_with": {name: tasks.version(name) for name in ("lm_eval", "transformers")}, "items": items, "scores": scores, "log_likelihoods": golden},
          open(arguments[3], "w", encoding="utf-8"), separators=(",", ":"))
