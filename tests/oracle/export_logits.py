#!/usr/bin/env python3
"""transformers loads exports as stock DeepseekV3ForCausalLM; its logits are held against those of the model that was exported.

    export_logits.py tiny FOLDER tests/goldens/export_logits.json
        FOLDER is what `MLAFORGE_EXPORT_OUT=FOLDER test_deepseek "[.export-files]"` wrote: tiny converted models with and without biases,
        query latents, frequencies off the grid, a latent norm, ranks that differ by layer. Records transformers' logits of one position.
    export_logits.py model LOGITS OURS EXPORT [--dtype fp32|bf16] [--tokens 256]
        LOGITS is the built program tests/logits, OURS a folder of --for mlaforge, EXPORT one of --for transformers or vllm.

Prints the largest difference of a logit and the mean KL divergence; exits 1 where fp32 exceeds 1e-7 nats, or bf16 1.25 times what the model
loses by itself in bf16. Run with transformers 5.24.0 and torch 2.11.0.
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

BOUND_NATS = 1e-7


def theirs(folder, ids, dtype=torch.float32):
    model, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    assert type(model).__name__ == "DeepseekV3ForCausalLM", type(model)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not loading[kind], (kind, loading[kind])
    with torch.no_grad():
        return model.eval()(ids).logits.float()


def ours(program, model, ids, dtype):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "ids.json").write_text(json.dumps(ids.tolist()))
        subprocess.run([program, model, dtype, folder / "ids.json", folder / "out.f32"], check=True)
        return from_file(folder / "out.f32", ids)


def from_file(path, ids):
    return torch.from_numpy(numpy.fromfile(path, dtype=numpy.float32)).view(*ids.shape, -1)


def distance(reference, other):
    p, q = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return (reference - other).abs().max().item(), (p.exp() * (p - q)).sum(-1).mean().item()


def tiny(folder, out):
    folder, good, logits = pathlib.Path(folder), True, {}
    ids = torch.tensor(json.loads((folder / "ids.json").read_text()))
    for path in sorted(folder.glob("*.f32")):
        values = theirs(folder / path.stem, ids)
        difference, kl = distance(from_file(path, ids), values)
        print(f"{path.stem:20} largest logit difference {difference:.3g} of {values.abs().max().item():.3g}, KL {kl:.3g} nats over {ids.numel()} tokens")
        good &= kl <= BOUND_NATS
        logits[path.stem] = [float(f"{v:.7g}") for v in values[0, -1].tolist()]
    pathlib.Path(out).write_text(json.dumps({"made_with": "transformers 5.24.0, torch 2.11.0", "logits": logits}, separators=(",", ":")) + "\n")
    return good


def model(args):
    count = AutoConfig.from_pretrained(args.export).vocab_size
    ids = torch.randint(0, count, (2, args.tokens // 2), generator=torch.Generator().manual_seed(5))
    reference = ours(args.logits, args.ours, ids, "fp32")
    if args.dtype == "fp32":
        difference, kl = distance(reference, theirs(args.export, ids))
        print(f"fp32: largest logit difference {difference:.3g} of {reference.abs().max().item():.3g}, KL {kl:.3g} nats over {ids.numel()} tokens")
        return kl <= BOUND_NATS
    _, own = distance(reference, ours(args.logits, args.ours, ids, "bf16"))
    _, kl = distance(reference, theirs(args.export, ids, torch.bfloat16))
    print(f"bf16: KL {kl:.4g} nats to fp32, the model's own bf16 {own:.4g}, ratio {kl / own:.3f}, over {ids.numel()} tokens")
    return kl <= 1.25 * own


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(required=True, dest="command")
one = commands.add_parser("tiny")
one.add_argument("folder")
one.add_argument("out")
two = commands.add_parser("model")
for name in ("logits", "ours", "export"):
    two.add_argument(name)
two.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
two.add_argument("--tokens", type=int, default=256)
if __name__ == "__main__":
    given = parser.parse_args()
    sys.exit(0 if (tiny(given.folder, given.out) if given.command == "tiny" else model(given)) else 1)
