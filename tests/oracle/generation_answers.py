#!/usr/bin/env python3
"""Records tests/goldens/generation_answers.json: what the original programs make SmolLM2 write at fp32, greedily. Only hashes are kept.

GSM8K: lm-evaluation-harness itself (its task file, five shots, its HFLM's generate_until, its filters and scores). LongBench's pred.py is a
script, not a package: its steps (prompt, middle cut at 3500 tokens by text, no chat template, greedy, the task's limit of new tokens) are
spelt below over transformers' generate; the scores are those of the package rouge as LongBench's metrics.py takes them.

Wants what lm_eval_answers.py wants, and rouge 1.0.1:

    tests/oracle/generation_answers.py MODEL.gguf DATA_ROOT tests/goldens/generation_answers.json [GSM8K_ITEMS [LONGBENCH_ITEMS [THREADS]]]
"""
import json
import os
import sys
import tempfile

arguments, sys.argv = sys.argv, sys.argv[:4]
import tasks_goldens as tasks  # reads the first three arguments

import torch
from lm_eval.models.huggingface import HFLM
from rouge import Rouge
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

problems, articles, threads = [int(n) for n in arguments[4:]] + [20, 10, 2][len(arguments) - 4:]
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(os.path.dirname(tasks.model), gguf_file=os.path.basename(tasks.model), dtype=torch.float32)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tasks.smollm2_tokenizer(), eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|im_end|>")


def gsm8k(folder):
    judge = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=2048, device="cpu")
    files = {part: os.path.join(tasks.root, "gsm8k", part + ".jsonl") for part in ("train", "test")}
    task = tasks.lm_eval_task(folder, "gsm8k", "gsm8k/gsm8k.yaml", files)
    task.set_fewshot_seed(1234)
    rows = []
    for number, doc in enumerate(list(task.eval_docs)[:problems]):
        context = task.fewshot_context(doc, task.config.num_fewshot)
        (request,) = [task.construct_requests(doc, context, metadata=("gsm8k", number, 1), doc_id=number)]
        (text,) = judge.generate_until([request], disable_tqdm=True)
        request.resps = [text]
        task._instances = [request]
        task.apply_filters()
        scores = {name: float(task.process_results(doc, [request.filtered_resps[name]])["exact_match"]) for name in request.filtered_resps}
        rows.append({"sha256": tasks.digest(text), "characters": len(text), "scores": scores})
        print("gsm8k", number, rows[-1], flush=True)
    return rows


def multi_news():
    def config(name):
        return json.load(open(os.path.join(tasks.root, "longbench", name), encoding="utf-8"))

    template, limit = config("dataset2prompt.json")["multi_news"], config("dataset2maxlen.json")["multi_news"]
    rows = []
    for line in list(open(os.path.join(tasks.root, "longbench", "multi_news.jsonl"), encoding="utf-8"))[:articles]:
        row = json.loads(line)
        prompt = template.format(**row)
        ids = tokenizer(prompt, truncation=False).input_ids
        if len(ids) > 3500:
            prompt = tokenizer.decode(ids[:1750], skip_special_tokens=True) + tokenizer.decode(ids[-1750:], skip_special_tokens=True)
        batch = tokenizer(prompt, truncation=False, return_tensors="pt")
        length = batch.input_ids.shape[-1]
        output = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=limit, num_beams=1, do_sample=False)[0]
        text = tokenizer.decode(output[length:], skip_special_tokens=True)
        try:
            score = max(Rouge().get_scores([text], [answer], avg=True)["rouge-l"]["f"] for answer in row["answers"])
        except Exception:
            score = 0.0
        rows.append({"sha256": tasks.digest(text), "characters": len(text), "tokens": int((output[length:] != tokenizer.eos_token_id).sum()), "score": score})
        print("multi_news", len(rows), rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    with torch.inference_mode(), tempfile.TemporaryDirectory() as scratch:
        golden = {"made_with": {name: tasks.version(name) for name in ("lm_eval", "transformers", "torch", "rouge")}, "gsm8k": gsm8k(scratch), "multi_news": multi_news()}
    with open(arguments[3], "w", encoding="ascii") as target:
        json.dump(golden, target, indent=1)
        target.write("\n")
