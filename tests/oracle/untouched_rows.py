#!/usr/bin/env python3
"""Rows of a text that no calibration sample touches, in their order: what a setting may be chosen on.

    untouched_rows.py TOKENIZER.json TEXT SAMPLES OUT [--seqlen 256] [--seed 42] [--tokens 12288]

Draws SAMPLES samples as TransMLA's loader does (and `--cal-dataset` after it): a row is drawn and joined with those behind it until there are `seqlen` tokens; the rows of a
sample are not drawn again. Of the rows that are left the longest runs of neighbours are written, until they have more than `tokens` tokens. A smaller number of samples touches fewer
rows, so one file serves all numbers up to SAMPLES. The tokenizer is that of a converted folder. Run with torch 2.11.0, tokenizers 0.23.3.
"""
import argparse
import re
from pathlib import Path

import tokenizers
import torch


def rows_left(rows, count, samples, seqlen, seed):
    """Indices of the rows that `samples` draws leave; count(text) is its number of tokens."""
    left = list(range(len(rows)))
    generator = torch.Generator().manual_seed(seed)
    drawn = 0
    while drawn < samples:
        first = end = int(torch.randint(0, len(left), (1,), generator=generator))
        tokens = 0
        while tokens < seqlen and end < len(left):
            tokens += count(rows[left[end]] if end == first else "\n\n" + rows[left[end]])
            end += 1
        del left[first:end]
        drawn += tokens >= seqlen
    return left


def runs_of(indices):
    runs = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def main(args):
    tokenizer = tokenizers.Tokenizer.from_file(args.tokenizer)
    count = lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    rows = [row for row in re.findall("[^\n]*\n|[^\n]+$", Path(args.text).read_bytes().decode()) if row.strip(" \t\r\n")]
    left = rows_left(rows, count, args.samples, args.seqlen, args.seed)
    runs = [("".join(rows[i] for i in run), run[0]) for run in runs_of(left)]
    chosen, total = [], 0
    for run, first in sorted(runs, key=lambda one: -count(one[0])):
        if total > args.tokens:
            break
        chosen.append((first, run))
        total += count(run)
    Path(args.out).write_bytes("\n".join(run for _, run in sorted(chosen)).encode())
    print(f"{len(left)} of {len(rows)} rows are untouched; wrote {len(chosen)} runs, {total} tokens")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind in (("tokenizer", str), ("text", str), ("samples", int), ("out", str)):
        parser.add_argument(name, type=kind)
    for name, default in (("--seqlen", 256), ("--seed", 42), ("--tokens", 24 * 512)):
        parser.add_argument(name, type=int, default=default)
    main(parser.parse_args())
