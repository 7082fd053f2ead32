#!/usr/bin/env python3
"""Records tests/goldens/kv_cache.json: what optimum-quanto, hqq and transformers' quantised cache make of drawn numbers, fp32 on the CPU.
Made with Python 3.11, torch 2.11.0, optimum-quanto 0.2.7, hqq 0.2.8.post1, transformers 5.24.0.

    tests/oracle/kv_cache_goldens.py tests/goldens/kv_cache.json
"""
import json
import random
import sys

import torch
from hqq.core.quantize import Quantizer
from optimum.quanto import MaxOptimizer, qint2, qint4, quantize_weight
from optimum.quanto.tensor.packed import PackedTensor
from transformers.cache_utils import QuantoQuantizedLayer

def unpack(packed):
    """Integers back from bytes, which quanto compiles an extension for: the first rows are in the lowest bits."""
    bits = packed._bits
    return torch.cat([(packed._data >> shift) & (2**bits - 1) for shift in range(0, 8, bits)])[: packed.shape[0]]


PackedTensor.unpack = unpack


def drawn(seed, *shape):
    """Numbers from -2 to 2; each token's first value is eight times as large, as outliers among keys are."""
    source = random.Random(seed)
    count = 1
    for size in shape:
        count *= size
    x = torch.tensor([4 * (source.random() - 0.5) for _ in range(count)], dtype=torch.float64).reshape(shape)
    x[..., 0] *= 8
    return x.float()


def heads(x, count):  # [1,T,H*h] -> [1,H,T,h], as transformers keeps keys
    return x.unflatten(2, (count, -1)).transpose(1, 2).contiguous()


def rows(x):  # and back, as a list
    return [float(f"{v:.9g}") for v in x.transpose(1, 2).flatten(2).flatten().tolist()]


quanto = []
for bits, axis, group, tokens, width in [(4, 0, 64, 3, 128), (2, 0, 64, 3, 128), (4, 0, 16, 3, 64), (4, -1, 16, 32, 8), (2, -1, 16, 32, 8)]:
    x = heads(drawn(bits + group, 1, tokens, width), 2)
    kind = qint4 if bits == 4 else qint2
    scale, shift = MaxOptimizer()(x, kind, axis, group)
    back = quantize_weight(x, kind, axis, scale, shift, group).dequantize()
    quanto.append({"seed": bits + group, "bits": bits, "axis": "token" if axis == 0 else "channel", "group": group, "tokens": tokens, "width": width, "back": rows(back)})

# Token by token: hqq stops its search when the mean error over all that it was given grows.
hqq = []
for bits, group, width in [(8, 64, 128), (4, 64, 128), (2, 64, 128), (4, 32, 64)]:
    x = drawn(100 + bits + group, 1, 3, width)
    back = []
    for token in x[0]:
        codes, meta = Quantizer.quantize(token.unsqueeze(0), nbits=bits, group_size=group, axis=1, device="cpu", bitpack=False)
        meta["compute_dtype"] = torch.float32
        back.append(Quantizer.dequantize(codes, meta))
    hqq.append({"seed": 100 + bits + group, "bits": bits, "group": group, "tokens": 3, "width": width, "back": rows(torch.cat(back).unsqueeze(0).unsqueeze(2))})

# A prompt of 6 tokens, then one after another: what attention gets to see after some of them.
layer = QuantoQuantizedLayer(nbits=4, axis_key=0, axis_value=0, q_group_size=32, residual_length=4)
keys, values = heads(drawn(7, 1, 16, 64), 2), heads(drawn(8, 1, 16, 64), 2)
layer.update(keys[:, :, :6], values[:, :, :6])
seen = {}
for t in range(6, 16):
    first, second = layer.update(keys[:, :, t:t + 1], values[:, :, t:t + 1])
    if t in (6, 10, 15):
        seen[str(t + 1)] = {"keys": rows(first), "values": rows(second)}

with open(sys.argv[1], "w") as out:
    json.dump({"quanto": quanto, "hqq": hqq, "schedule": {"prompt": 6, "tokens": 16, "width": 64, "group": 32, "residual": 4, "seen": seen}}, out, separators=(",", ":"))
    out.write("\n")
