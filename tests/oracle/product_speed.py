#!/usr/bin/env python3
"""GFLOP/s of one core for the shapes of a small model: LibTorch's own product (MKL), oneDNN's, and bf16, for docs/performance.md.

    tests/oracle/product_speed.py                             as the processor is
    ONEDNN_MAX_CPU_ISA=AVX2 tests/oracle/product_speed.py     oneDNN without AVX-512

Wants Python with torch 2.11.0. CPU seconds, so that other work counts little.
"""
import time

import torch

REPETITIONS = 8
torch.set_num_threads(1)


def rate(run, operations):
    run()
    begun = time.process_time()
    for _ in range(REPETITIONS):
        run()
    return operations * REPETITIONS / (time.process_time() - begun) / 1e9


print("| x [m,k] by a weight [n,k] | MKL, fp32 | oneDNN, fp32 | bf16 |\n|---|---|---|---|")
for m, k, n in ((1024, 576, 1536), (1024, 1536, 576), (384, 64, 512), (256, 576, 4096)):
    x, weight, operations = torch.randn(m, k), torch.randn(n, k), 2 * m * k * n
    half, half_weight = x.bfloat16(), weight.bfloat16()
    mkl = rate(lambda: torch.nn.functional.linear(x, weight), operations)
    onednn = rate(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""), operations)
    bf16 = rate(lambda: torch.nn.functional.linear(half, half_weight), operations)
    print(f"| {m} x {k} x {n} | {mkl:.0f} | {onednn:.0f} | {bf16:.0f} |")
