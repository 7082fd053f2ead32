#!/usr/bin/env python3
"""transformers loads the export of every family by every method that `--for transformers` accepts, and its logits are held against ours.

    export_families.py MLAFORGE LOGITS tests/goldens/export_families.json [--only TEXT]
        MLAFORGE is the program, LOGITS the program tests/logits (target `logits`).

A tiny random model of each family (family_goldens.py: six query heads on two KV heads of 8, hidden size 42, vocabulary of 61) is converted with
`convert --for transformers` and, for our own logits, with `convert --for mlaforge`, both at fp32. transformers loads the first as
DeepseekV3ForCausalLM without missing or unexpected tensors; the mean KL divergence over 256 tokens must be at most 1e-7 nats. Then the export
is written again in bf16 (`export-model`), and what transformers loses with it in bf16, against our fp32 logits, is held against
what the unconverted model loses in bf16, over the same tokens: at most 1.25 times as much.
A model that the target cannot hold is recorded with the program's reason. Writes one row per family and method as soon as it is measured; rows that
the file has already are not measured again, so remove it first where the program has changed.
Run with transformers 5.24.0, torch 2.11.0.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

import family_goldens
from export_logits import distance, ours, theirs

EXACT_NATS, BF16_SHARE = 1e-7, 1.25
VOCABULARY, SAMPLES, TOKENS = family_goldens.SIZES["vocab_size"], 4, 64
LETTERS = 27  # that the tokenizer knows

# What of family_goldens' models DeepSeek's classes have a place for, and how the others differ from those there.
family_goldens.FAMILIES.update({
    "llama, llama3 rope and attention biases": ("Llama", dict(attention_bias=True, tie_word_embeddings=True, rope_parameters=family_goldens.LLAMA3), {}),
    "mistral, no window": ("Mistral", dict(sliding_window=None), {}),
    "qwen2, no window": ("Qwen2", {}, {}),
    "phi3, default rope": ("Phi3", dict(hidden_size=48, head_dim=None, sliding_window=None), {}),
})
FAMILIES = ["llama", "llama, llama3 rope and attention biases", "llama_linear", "llama_yarn", "mistral, no window", "qwen2, no window", "phi3, default rope", "mimo"]
REFUSED = ["llama_dynamic", "mistral", "mixtral", "qwen3", "gemma", "gemma2"]  # each for a reason of its own

LATENT = ["--kv-lora-rank", "12", "--freqfold", "2", "--qk-mqa-dim", "8"]
METHODS = {
    "care": ["--form", "latent", *LATENT],
    "gla": LATENT,
    "gta": ["--qk-rope-head-dim", "4"],
    "mla_retrofit": ["--rope-mode", "extend"],
    "svd": ["--form", "latent", *LATENT],
    "svd_llm": ["--form", "latent", *LATENT],
    "stream_match": [*LATENT, "--steps", "4", "--cal-self-samples", "0"],
    "transmla": LATENT,
    "transmla, query latent": [*LATENT, "--q-lora-rank", "20"],
    "transmla, norms": [*LATENT, "--use-qkv-norm", "calibrated"],
    "x_ecomla": ["--kv-lora-rank", "12", "--qk-rope-head-dim", "4"],
}


def write_model(name, folder):
    kind, config, _ = family_goldens.write_checkpoint(name, folder)
    vocabulary = {chr(ord("a") + i): i for i in range(26)} | {"Ċ": 26}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
                                                       "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    original = config if name != "mimo" else json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(original))
    with torch.no_grad():
        model = getattr(transformers, kind + "ForCausalLM").from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
        ids = torch.randint(0, VOCABULARY, (SAMPLES, TOKENS), generator=torch.Generator().manual_seed(3))
        exact = model(ids).logits.float()
        _, loss = distance(exact, model.to(torch.bfloat16)(ids).logits.float())
    (folder / "config.json").write_text(json.dumps(config))
    return ids, loss


def run(words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    return done.returncode, done.stderr.strip().split("\n")[-1]


def row_of(args, place, model, ids, own_bf16, method):
    options = ["--method", method.split(",")[0], *METHODS[method], "--calibration-ids", place / "ids.json", "--threads", "2"]
    stem = place / method.replace(", ", "-").replace(" ", "-")
    ours_at, theirs_at, narrow_at = (Path(f"{stem}-{kind}") for kind in ("own", "exported", "bf16"))
    code, said = run([args.mlaforge, "convert", "--model", model, "--for", "transformers", *options, "--out", theirs_at])
    if code != 0:
        return {"refused": said}
    for words in (["convert", "--model", model, *options, "--out", ours_at], ["export-model", "--model", ours_at, "--for", "transformers", "--dtype", "bf16", "--out", narrow_at]):
        code, said = run([args.mlaforge, *words])
        assert code == 0, said
    reference = ours(args.logits, ours_at, ids, "fp32")
    difference, kl = distance(reference, theirs(theirs_at, ids))
    _, narrow = distance(reference, theirs(narrow_at, ids, torch.bfloat16))
    rounded = lambda value: float(f"{value:.3g}")
    return {"kl_nats": rounded(kl), "largest_difference": rounded(difference), "largest_logit": rounded(reference.abs().max().item()),
            "bf16_kl_nats": rounded(narrow), "original_bf16_kl_nats": rounded(own_bf16), "bf16_ratio": rounded(narrow / own_bf16)}


def main(args):
    out = Path(args.out)
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    known = {(row["family"], row["method"]) for row in rows}
    for family in FAMILIES + REFUSED:
        methods = [method for method in (METHODS if family in FAMILIES else ["transmla"]) if (family, method) not in known and (args.only or "") in f"{family} | {method}"]
        if not methods:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "model").mkdir()
            ids, own_bf16 = write_model(family, place / "model")
            tokens = torch.randint(0, LETTERS, (8, 32), generator=torch.Generator().manual_seed(4)).tolist()
            (place / "ids.json").write_text(json.dumps({"batches": [{"input_ids": tokens, "attention_mask": [[1] * 32] * 8}]}))
            for method in methods:
                row = row_of(args, place, place / "model", ids, own_bf16, method)
                rows.append({"family": family, "method": method, **row})
                print(family, "|", method, "|", row, flush=True)
                write(out, rows)
    means = write(out, rows)
    print("mean ratio of bf16 losses by method:", means)
    return all(row.get("kl_nats", 0.0) <= EXACT_NATS and row.get("bf16_ratio", 0.0) <= BF16_SHARE for row in rows)


def write(out, rows):
    means = {}
    for method in METHODS:
        ratios = [row["bf16_ratio"] for row in rows if row["method"] == method and "bf16_ratio" in row]
        if ratios:
            means[method] = float(f"{sum(ratios) / len(ratios):.3g}")
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__}"
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    out.write_text(f'{{"made_with": "{made_with}", "tokens": {SAMPLES * TOKENS},\n "bf16_ratio": {json.dumps(means)},\n "rows": [\n  {lines}]}}\n')
    return means


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("mlaforge", "logits", "out"):
        parser.add_argument(name)
    parser.add_argument("--only", help="family | method must hold this text")
    torch.set_num_threads(1)
    sys.exit(0 if main(parser.parse_args()) else 1)
