#!/usr/bin/env python3
"""Records tests/goldens/lm_eval_table.json: lm_eval 0.4.13's make_table on drawn results, and on an export of ours.

    MLAFORGE_RECORD=export.json build/release/tests/test_results "[record]"
    tests/oracle/lm_eval_table.py export.json tests/goldens/lm_eval_table.json

Wants the package lm_eval. Every number is drawn; names are those of tasks.
"""
import json
import random
import sys

from lm_eval.utils import make_table

TASKS = ["arc_easy", "gsm8k", "longbench/multi_news", "winogrande@full", "a", "mmlu_pro"]
KEYS = ["acc,none", "acc_norm,none", "exact_match,strict-match", "exact_match,flexible-extract", "kld_gold,none", "rouge_l_x100,none"]
source = random.Random(20260131)


def value():
    kind = source.randrange(6)
    if kind == 0:
        return float(source.choice([0, 1, 0.5, 0.25, 0.125]))
    if kind == 1:
        return round(source.random() * 100, source.randrange(4))
    if kind == 2:
        return source.random() * 1e-5
    if kind == 3:
        return -source.random()
    return source.random()


def drawn():
    out = {"results": {}, "versions": {}, "n-shot": {}, "higher_is_better": {}, "group_subtasks": {}}
    for task in source.sample(TASKS, source.randrange(1, 5)):
        values = {"name": task, "alias": task, "sample_len": source.randrange(1, 2000)}
        for key in source.sample(KEYS, source.randrange(1, 4)):
            metric, name = key.split(",")
            values[key] = value()
            if source.random() < 0.8:
                values[f"{metric}_stderr,{name}"] = "N/A" if source.random() < 0.2 else abs(value())
            if source.random() < 0.8:
                out["higher_is_better"].setdefault(task, {})[metric] = source.random() < 0.7
        out["results"][task] = values
        if source.random() < 0.9:
            out["versions"][task] = source.randrange(1, 5)
        if source.random() < 0.9:
            out["n-shot"][task] = source.choice([0, 5, 25])
    return out


cases = [{"results": results, "table": make_table(results)} for results in (drawn() for _ in range(200))]
with open(sys.argv[1], encoding="utf-8") as file:
    export = json.load(file)
# What simple_evaluate and its tracker add to a result, from lm_eval/result_schema.py; not what describes torch and a HF tokenizer.
keys = ["results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config", "git_hash", "date",
        "transformers_version", "lm_eval_version", "upper_git_hash", "max_length", "task_hashes", "model_source", "model_name", "model_name_sanitized",
        "system_instruction", "system_instruction_sha", "fewshot_as_multiturn", "chat_template", "chat_template_sha", "total_evaluation_time_seconds"]
golden = {"made_with": "lm_eval 0.4.13", "cases": cases, "keys": keys, "export": {"results": export, "table": make_table(export)}}
with open(sys.argv[2], "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
