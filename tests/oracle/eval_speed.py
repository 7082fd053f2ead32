#!/usr/bin/env python3
"""Speed and memory of evaluation beside lm-evaluation-harness and transformers, in one run on one machine. Prints Markdown for docs/performance.md.

Multiple choice at fp32: the six local sets, the same items, lm_eval's HFLM at batch sizes 1, 8 and 32 (its best counts), the program as it is.
Perplexity at bf16: disjoint windows of 512 tokens, transformers' logits and cross entropy, four windows at a time, as the program takes them.
Loading is not counted on either side; peak memory is each process's own.

Wants what lm_eval_answers.py wants, a built program, and a quiet machine:

    tests/oracle/eval_speed.py MODEL.gguf DATA_ROOT build/release/experiments/mlaforge [ITEMS [THREADS [WINDOWS]]]     default: 40 2 16
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

arguments = sys.argv
model, root, program = arguments[1:4]
items, threads, windows = [int(n) for n in arguments[4:7]] + [40, 2, 16][len(arguments[4:7]):]
PART = os.environ.get("EVAL_SPEED_PART")


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(dtype):
    sys.argv = arguments[:3] + ["unused"]
    import tasks_goldens as tasks
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    torch.set_num_threads(threads)
    judged = AutoModelForCausalLM.from_pretrained(os.path.dirname(model), gguf_file=os.path.basename(model), dtype=getattr(torch, dtype))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tasks.smollm2_tokenizer(), eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|im_end|>")
    return tasks, torch, judged, tokenizer


def their_choices(batch):
    tasks, torch, judged, tokenizer = load("float32")
    from lm_eval.models.huggingface import HFLM
    judge = HFLM(pretrained=judged, tokenizer=tokenizer, batch_size=batch, max_length=2048, device="cpu")
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, source, rebuild, split) in tasks.TASKS.items():
            rows = [rebuild(row) for row in json.load(open(os.path.join(root, "mc", source + ".json"), encoding="utf-8"))[:items]]
            task = tasks.lm_eval_task(folder, name, file, {split: tasks.write_rows(os.path.join(folder, name + ".jsonl"), rows)})
            requests = []
            for doc in list(task.eval_docs)[:items]:
                requests += task.construct_requests(doc, task.fewshot_context(doc, 0), metadata=(name, 0, 1), doc_id=0)
            start = time.perf_counter()
            judge.loglikelihood(requests, disable_tqdm=True)
            seconds[name] = time.perf_counter() - start
    return {"seconds": seconds, "peak_mb": peak_mb()}


def their_perplexity():
    tasks, torch, judged, tokenizer = load("bfloat16")
    text = open(os.path.join(root, "wikitext-2", "test.txt"), encoding="utf-8").read()
    ids = torch.tensor(tasks.smollm2_tokenizer().encode(text, add_special_tokens=False).ids[: 512 * windows]).view(windows, 512)
    total = 0.0
    with torch.inference_mode():
        judged(ids[:1, :8])
        start = time.perf_counter()
        for first in range(0, windows, 4):
            batch = ids[first:first + 4]
            logits = judged(batch).logits[:, :-1].float()
            total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").item()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "nll": total / (windows * 511), "peak_mb": peak_mb()}


def child(part):
    done = subprocess.run([sys.executable] + arguments, env={**os.environ, "EVAL_SPEED_PART": part}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{part} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(words):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([program, "-q", "eval", "--model", model, "--threads", str(threads), "--store", os.path.join(folder, "runs.db"), "--format", "json", "--data-root", root] + words,
                              capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": folder})
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


if PART:
    print(json.dumps(their_perplexity() if PART == "perplexity" else their_choices(int(PART))))
    sys.exit(0)

theirs = {batch: child(str(batch)) for batch in (1, 8, 32)}
names = list(theirs[1]["seconds"])
answers = ours(["--tasks", ",".join(names), "--limit", str(items)])
mine = {row["task"]: row["seconds"]["answer"] for row in answers}
best = min(theirs, key=lambda batch: sum(theirs[batch]["seconds"].values()))
print(f"| task | lm_eval, items/s at batch 1, 8, 32 | mlaforge, items/s | ratio to batch {best} |\n|---|---|---|---|")
for name in names + ["together"]:
    def seconds(table):
        return sum(table.values()) / len(names) if name == "together" else table[name]
    print(f"| {name} | " + ", ".join(f"{items / seconds(theirs[batch]['seconds']):.2f}" for batch in theirs) +
          f" | {items / seconds(mine):.2f} | {seconds(theirs[best]['seconds']) / seconds(mine):.2f} |")
peak = max(row["peak_rss_mb"] for row in answers)
print(f"\nPeak memory: lm_eval {theirs[best]['peak_mb']:.0f} MB at batch {best}, mlaforge {peak:.0f} MB, ratio {peak / theirs[best]['peak_mb']:.2f}")
text = child("perplexity")
row = ours(["--corpus", os.path.join(root, "wikitext-2", "test.txt"), "--window", "512", "--max-windows", str(windows), "--dtype", "bf16"])
taken = row["seconds"]["score_original"]
print(f"Perplexity at bf16: transformers {512 * windows / text['seconds']:.0f} tokens/s, {text['peak_mb']:.0f} MB; mlaforge {512 * windows / taken:.0f} tokens/s, "
      f"{row['peak_rss_mb']:.0f} MB; ratio {text['seconds'] / taken:.2f}")
