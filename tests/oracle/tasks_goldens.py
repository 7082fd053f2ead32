#!/usr/bin/env python3
"""Records tests/goldens/tasks.json: hashes of what lm-evaluation-harness and LongBench ask a model. No text is kept.

lm-eval's own task files (of its installed package) are read over rows rebuilt here, by other means than the program's, from the
LLM-Adapters files; contexts, requests and few-shot draws are its own code's. LongBench's pred.py and MHA2MLA's longbench.py are
scripts, not packages: their two truncations are spelt below as docs/evaluation.md describes them, over the package tokenizers.

Wants Python with lm_eval 0.4.13 (and scikit-learn, datasets), tokenizers 0.23.3, gguf; no torch.

    tests/oracle/tasks_goldens.py MODEL.gguf DATA_ROOT tests/goldens/tasks.json
"""
import hashlib
import json
import os
import re
import sys
import tempfile
from importlib.metadata import version
from random import Random

import lm_eval
import yaml
from gguf import GGUFReader
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

model, root, out = sys.argv[1:]
ITEMS = 200
os.environ["HF_DATASETS_OFFLINE"] = "1"


def digest(text, digits=16):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def options(row, mark):
    """The instruction cut at its numbered marks: question and options, their own blanks kept."""
    body = re.sub(r"(?:\n\n| )Answer format: \S+$", "", row["instruction"])
    parts = re.split(r"(?:\n\n| )%s\d: " % mark, body)
    question = re.split(r"(?:to the question|the given sentence): ", parts[0], maxsplit=1)[1]
    return question, parts[1:], int(row["answer"][-1]) - 1


def lettered(row, key):
    question, texts, gold = options(row, "Answer")
    labels = list("ABCDE")[: len(texts)]
    return {key: question, "choices": {"text": texts, "label": labels}, "answerKey": labels[gold]}


def social(row):
    question, texts, gold = options(row, "Answer")
    cut = question.rfind(" ", 0, max(question.rfind(". ") + 2, question.find(" ") + 1))
    return {"context": question[:cut], "question": question[cut + 1:], "answerA": texts[0], "answerB": texts[1], "answerC": texts[2],
            "label": str(gold + 1)}


def piqa(row):
    goal, texts, gold = options(row, "Solution")
    return {"goal": goal, "sol1": texts[0], "sol2": texts[1], "label": gold}


def winogrande(row):
    sentence, texts, gold = options(row, "Option")
    return {"sentence": sentence, "option1": texts[0], "option2": texts[1], "answer": str(gold + 1)}


# our name: lm-eval's file, the data root's file, how a row is rebuilt, split
TASKS = {
    "arc_easy": ("arc/arc_easy.yaml", "ARC-Easy", lambda row: lettered(row, "question"), "test"),
    "arc_challenge": ("arc/arc_challenge.yaml", "ARC-Challenge", lambda row: lettered(row, "question"), "test"),
    "openbookqa": ("openbookqa/openbookqa.yaml", "openbookqa", lambda row: lettered(row, "question_stem"), "test"),
    "piqa": ("piqa/piqa.yaml", "piqa", piqa, "validation"),
    "social_iqa": ("siqa/siqa.yaml", "social_i_qa", social, "validation"),
    "winogrande": ("winogrande/default.yaml", "winogrande", winogrande, "validation"),
}


def lm_eval_task(folder, name, file, splits):
    """lm-eval's task object, its task file included as it is but for where the rows lie."""
    own = "golden_" + name
    config = {"include": os.path.join(os.path.dirname(lm_eval.__file__), "tasks", file), "task": own, "dataset_path": "json", "dataset_name": None,
              "dataset_kwargs": {"data_files": splits}, "training_split": "train" if "train" in splits else None,
              "validation_split": "validation" if "validation" in splits else None, "test_split": "test" if "test" in splits else None}
    with open(os.path.join(folder, own + ".yaml"), "w", encoding="utf-8") as handle:
        yaml.safe_dump(config, handle)
    loaded = TaskManager(include_path=folder, include_defaults=False).load([own])
    return loaded["tasks"][own] if "tasks" in loaded else loaded[own]


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as handle:
        for row in rows:
            handle.write(json.dumps(row) + "\n")
    return path


def choice_goldens(folder):
    golden = {}
    for name, (file, source, rebuild, split) in TASKS.items():
        rows = [rebuild(row) for row in json.load(open(os.path.join(root, "mc", source + ".json"), encoding="utf-8"))]
        task = lm_eval_task(folder, name, file, {split: write_rows(os.path.join(folder, name + ".jsonl"), rows)})
        task.set_fewshot_seed(1234)
        hashes, golds = "", []
        for doc in list(task.eval_docs)[:ITEMS]:
            requests = task.construct_requests(doc, task.fewshot_context(doc, 0), metadata=(name, 0, 1), doc_id=0)
            hashes += digest("\x1e".join("\x1f".join(request.args) for request in requests))
            gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
            golds.append(int(gold))
        golden[name] = {"hashes": hashes, "golds": "".join(map(str, golds))}
    return golden


def made_up_rows(seed, count):
    """Rows with every column that the tasks below read; the traps are brackets, blanks, case, Unicode, underscores, braces."""
    random = Random(seed)
    pieces = ["A man", " [title] Next", "[step] b", "  twice", "Stra\u00dfe", "\u00c9COLE", "x_y", "{brace}", "end.", "[a [b] c]", "[open", "line\nbreak", "?", " "]

    def text():
        return "".join(random.choice(pieces) + random.choice(["", " "]) for _ in range(random.randint(1, 6)))

    rows = []
    for _ in range(count):
        four, five, many = [text() for _ in range(4)], [text() for _ in range(5)], [text() for _ in range(random.randint(3, 10))]
        gold = random.randrange(4)
        rows.append({"activity_label": text(), "ctx_a": text(), "ctx_b": text(), "endings": four, "label": str(gold), "question": text(),
                     "passage": text(), "five": five, "choices": four, "answer": gold, "options": many, "letter": "ABC"[random.randrange(3)],
                     "cot_content": "A: Let's think step by step. " + text()})
    return rows


def as_task(name, row):
    if name == "commonsense_qa":
        return {"question": row["question"], "choices": {"text": row["five"], "label": list("ABCDE")}, "answerKey": row["letter"]}
    if name == "boolq":
        return {"passage": row["passage"], "question": row["question"], "label": row["answer"] % 2}
    if name == "mmlu":
        return {"question": row["question"], "subject": "anatomy", "choices": row["choices"], "answer": row["answer"]}
    if name == "mmlu_pro":
        return {"question": row["question"], "options": row["options"], "answer": row["letter"], "category": "biology", "cot_content": row["cot_content"]}
    return {key: row[key] for key in ("activity_label", "ctx_a", "ctx_b", "endings", "label")}


# our name: lm-eval's file, split, split of the examples, how many
MADE_UP = {
    "hellaswag": ("hellaswag/hellaswag.yaml", "validation", None, 0),
    "commonsense_qa": ("commonsense_qa/default.yaml", "validation", None, 0),
    "boolq": ("super_glue/boolq/default.yaml", "validation", None, 0),
    "mmlu": ("mmlu/default/mmlu_anatomy.yaml", "test", "dev", 5),
    "mmlu_pro": ("mmlu_pro/mmlu_pro_biology.yaml", "test", "validation", 5),
}


def made_up_golden(folder):
    """Tasks whose data may not lie here: rows made up, kept whole beside their hashes."""
    golden = {}
    for name, (file, split, pool_split, shots) in MADE_UP.items():
        rows = [as_task(name, row) for row in made_up_rows(7, 40)]
        pool = [as_task(name, row) for row in made_up_rows(8, 6)] if pool_split else []
        files = {split: write_rows(os.path.join(folder, name + "_rows.jsonl"), rows)}
        if pool:
            files[pool_split] = write_rows(os.path.join(folder, name + "_pool.jsonl"), pool)
        task = lm_eval_task(folder, "made_up_" + name, file, files)
        task.set_fewshot_seed(1234)
        hashes = ""
        for doc in task.eval_docs:
            requests = task.construct_requests(doc, task.fewshot_context(doc, shots), metadata=(name, 0, 1), doc_id=0)
            if isinstance(requests, list):
                hashes += digest("\x1e".join("\x1f".join(request.args) for request in requests))
            else:
                hashes += digest(requests.args[0])
        golden[name] = {"rows": rows, "pool": pool, "shots": shots, "hashes": hashes}
    return golden


def gsm8k_golden(folder):
    files = {part: os.path.join(root, "gsm8k", part + ".jsonl") for part in ("train", "test")}
    task = lm_eval_task(folder, "gsm8k", "gsm8k/gsm8k.yaml", files)
    task.set_fewshot_seed(1234)
    return "".join(digest(task.fewshot_context(doc, task.config.num_fewshot)) for doc in list(task.eval_docs)[:ITEMS])


def smollm2_tokenizer():
    reader = GGUFReader(model)

    def texts(key):
        field = reader.fields[key]
        return [bytes(field.parts[i]).decode() for i in field.data]

    vocabulary = {token: i for i, token in enumerate(texts("tokenizer.ggml.tokens"))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ", 1)) for merge in texts("tokenizer.ggml.merges")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def longbench_golden(tokenizer):
    def config(name):
        return json.load(open(os.path.join(root, "longbench", name), encoding="utf-8"))

    templates, limits = config("dataset2prompt.json"), config("dataset2maxlen.json")
    golden = {}
    for dataset in ("multi_news", "multifieldqa_zh", "passage_retrieval_zh"):
        rows = [json.loads(line) for line in open(os.path.join(root, "longbench", dataset + ".jsonl"), encoding="utf-8")]
        result = {"whole": "".join(digest(templates[dataset].format(**row), 8) for row in rows)}
        for length in (3500, 1000, 1001):
            hashes = ""
            for row in rows:
                prompt = templates[dataset].format(**row)
                ids = tokenizer.encode(prompt).ids
                if len(ids) > length:
                    half = length // 2
                    prompt = tokenizer.decode(ids[:half], skip_special_tokens=True) + tokenizer.decode(ids[-half:], skip_special_tokens=True)
                hashes += digest(prompt, 8)
            result["longbench/%d" % length] = hashes
        for window in (2048, 1001):
            hashes, most = "", window - limits[dataset]
            for row in rows:
                context, chars = row["context"], 8 * window
                if len(context) > chars:
                    context = context[: chars // 2] + context[-(chars // 2):]
                ids = tokenizer.encode(templates[dataset].format(**{**row, "context": context})).ids
                if len(ids) > most:
                    ids = ids[: most - most // 2] + ids[-(most // 2):]
                hashes += digest(" ".join(map(str, ids)), 8)
            result["tokens/%d" % window] = hashes
        golden[dataset] = result
    return golden


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        goldens = {
            "made_with": ", ".join("%s %s" % (package, version(package)) for package in ("lm_eval", "tokenizers", "gguf")),
            "choices": choice_goldens(scratch),
            "made_up": made_up_golden(scratch),
            "gsm8k": gsm8k_golden(scratch),
            "longbench": longbench_golden(smollm2_tokenizer()),
        }
    with open(out, "w", encoding="ascii") as target:
        json.dump(goldens, target, separators=(",", ":"))
        target.write("\n")
