#!/usr/bin/env python3
"""Records tests/goldens/kld.json: the statistics of llama-perplexity --kl-divergence, from logits in float64 with numpy 2.4.6.

    tests/oracle/kld_goldens.py tests/goldens/kld.json

The logits come from random.Random, which the test draws again. Formulas: tools/perplexity/perplexity.cpp of llama.cpp
(kl_divergence), without its 16-bit reference and its cut at probabilities below e^-16.
"""
import json
import random
import sys

import numpy as np

CASES = [{"seed": 1, "tokens": 1200, "vocabulary": 40, "noise": 0.6}, {"seed": 2, "tokens": 257, "vocabulary": 13, "noise": 4.0},
         {"seed": 3, "tokens": 2, "vocabulary": 5, "noise": 0.1}]
KLD_POINTS = {"max": 100, "p99.9": 99.9, "p99": 99, "p95": 95, "p90": 90, "median": 50, "p10": 10, "p5": 5, "p1": 1, "p0.1": 0.1, "min": 0}
DP_POINTS = {**KLD_POINTS, "p75": 75, "p25": 25}


def mean_and_error(x):
    return float(np.mean(x)), float(np.std(x, ddof=1) / np.sqrt(len(x)))


def statistics(base, model, targets):
    log_p = base - np.log(np.exp(base - base.max(1, keepdims=True)).sum(1, keepdims=True)) - base.max(1, keepdims=True)
    log_q = model - np.log(np.exp(model - model.max(1, keepdims=True)).sum(1, keepdims=True)) - model.max(1, keepdims=True)
    rows = np.arange(len(targets))
    nll, nll_base = -log_q[rows, targets], -log_p[rows, targets]
    kld = (np.exp(log_p) * (log_p - log_q)).sum(1)
    dp = np.exp(-nll) - np.exp(-nll_base)
    (x, ex), (y, ey) = mean_and_error(nll), mean_and_error(nll_base)
    cov = float(np.cov(nll, nll_base, ddof=1)[0, 1] / len(nll))
    ratio_error = float(np.sqrt(ex**2 + ey**2 - 2 * cov))
    mse, mse_error = mean_and_error(dp**2)
    q, b = float(np.exp(x)), float(np.exp(y))
    top = float(np.mean(base.argmax(1) == model.argmax(1)))
    out = {"ppl_q": (q, q * ex), "ppl_base": (b, b * ey), "ln_ppl_correlation": (cov / (ex * ey), None), "ln_ppl_ratio": (x - y, ratio_error),
           "ppl_quotient": (float(np.exp(x - y)), float(np.exp(x - y)) * ratio_error),
           "ppl_difference": (q - b, float(np.sqrt((q * ex)**2 + (b * ey)**2 - 2 * q * b * cov))),
           "kld_mean": mean_and_error(kld), "dp_mean": mean_and_error(dp), "dp_rms": (float(np.sqrt(mse)), 0.5 / float(np.sqrt(mse)) * mse_error),
           "same_top_share": (top, float(np.sqrt(top * (1 - top) / (len(nll) - 1))))}
    for name, point in KLD_POINTS.items():
        out["kld_" + name] = (float(np.percentile(kld, point)), None)
    for name, point in DP_POINTS.items():
        out["dp_" + name] = (float(np.percentile(dp, point)), None)
    return out


goldens = []
for case in CASES:
    source = random.Random(case["seed"])
    base, model, targets = [], [], []
    for _ in range(case["tokens"]):
        base.append([12 * (source.random() - 0.5) for _ in range(case["vocabulary"])])
        model.append([x + case["noise"] * (source.random() - 0.5) for x in base[-1]])
        targets.append(source.randrange(case["vocabulary"]))
    goldens.append({**case, "statistics": statistics(np.array(base), np.array(model), np.array(targets))})
with open(sys.argv[1], "w", encoding="ascii") as file:
    json.dump({"made_with": "numpy " + np.__version__, "cases": goldens}, file, separators=(",", ":"))
    file.write("\n")
