#!/usr/bin/env python3
"""Holds folders of `--for transformers` (and `--for vllm`) against the models they were made from: transformers loads the export as
stock DeepseekV3ForCausalLM, mlaforge itself loads its own folder of the same conversion, and both give logits of the same tokens.

    tests/oracle/export_logits.py MLAFORGE_LOGITS OURS EXPORT [--dtype fp32|bf16] [--tokens 256]

MLAFORGE_LOGITS is the built program tests/logits: `logits MODEL DTYPE IDS.json OUT.f32`. OURS is a folder of --for mlaforge (or a GGUF
file), EXPORT one of another target. Prints the largest difference of a logit and the mean KL, and exits 1 where fp32 exceeds 1e-7 nats.
Where OURS is an original model and EXPORT its exact conversion at full rank, the same bound holds. Run with transformers 5.24.0 and
torch 2.11.0.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from transformers import AutoConfig, AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("ours")
parser.add_argument("export")
parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
parser.add_argument("--tokens", type=int, default=256)
parser.add_argument("--bound", type=float, default=1e-7)
args = parser.parse_args()
torch.manual_seed(0)

config = AutoConfig.from_pretrained(args.export)
ids = torch.randint(0, config.vocab_size, (2, args.tokens), generator=torch.Generator().manual_seed(5))


def ours(dtype):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "ids.json").write_text(json.dumps(ids.tolist()))
        subprocess.run([args.program, args.ours, dtype, folder / "ids.json", folder / "out.f32"], check=True)
        values = numpy.fromfile(folder / "out.f32", dtype=numpy.float32)
    return torch.from_numpy(values).view(ids.size(0), ids.size(1), -1)


def theirs(dtype):
    model, loading = AutoModelForCausalLM.from_pretrained(args.export, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    assert type(model).__name__ == "DeepseekV3ForCausalLM", type(model)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not loading[kind], (kind, loading[kind])
    with torch.no_grad():
        return model.eval()(ids).logits.float()


def distance(reference, other):
    p, q = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return (reference - other).abs().max().item(), (p.exp() * (p - q)).sum(-1).mean().item()


reference = ours("fp32")
if args.dtype == "fp32":
    difference, kl = distance(reference, theirs(torch.float32))
    print(f"fp32: largest logit difference {difference:.3g} of {reference.abs().max().item():.3g}, KL {kl:.3g} nats over {ids.numel()} tokens")
    sys.exit(0 if kl <= args.bound else 1)
_, own = distance(reference, ours("bf16"))
difference, kl = distance(reference, theirs(torch.bfloat16))
print(f"bf16: KL {kl:.4g} nats to fp32, the model's own bf16 {own:.4g}, ratio {kl / own:.3f} over {ids.numel()} tokens")
sys.exit(0 if kl <= 1.25 * own else 1)
