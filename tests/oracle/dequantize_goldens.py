"""Has the `gguf` package dequantise what core/checkpoint/dequantize.cpp must give bit for bit.

Seeded random blocks, some with special half scales, are recorded as bytes and fp32 bit patterns; every 16-bit pattern that
is not a NaN, and whole tensors of SmolLM2-135M-Instruct (Q4_1), by the SHA-256 of their little-endian fp32 values. Tensors
are as the file stores them, so q and k rows are still permuted. The other types are 512 blocks each whose bytes follow from a formula
that tests/support/family_models.cpp has too: recorded are the first block and the SHA-256 of what all of them give. Needs Python 3.11, numpy 2.4.6 and gguf 0.19.0.

    python3 tests/oracle/dequantize_goldens.py MODEL.gguf tests/goldens/dequantize.json
"""
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

from splitmix64 import named_bits

SPECIAL_HALVES = {"zero": 0x0000, "negative zero": 0x8000, "least subnormal": 0x0001, "greatest subnormal": 0x03ff,
                  "negative subnormal": 0x8155, "least normal": 0x0400, "negative": 0xb555, "greatest": 0x7bff, "least": 0xfbff}
BLOCK_BYTES = {"Q8_0": 34, "Q4_1": 20}
# Bytes of a block, and where its half-precision scales stand.
FORMULA_BLOCKS = {"Q4_0": (18, [0]), "Q4_1": (20, [0, 2]), "Q5_0": (22, [0]), "Q5_1": (24, [0, 2]), "Q8_0": (34, [0]), "Q2_K": (84, [80, 82]),
                  "Q3_K": (110, [108]), "Q4_K": (144, [0, 2]), "Q5_K": (176, [0, 2]), "Q6_K": (210, [208]), "IQ4_NL": (18, [0]), "IQ4_XS": (136, [0])}
FORMULA_COUNT = 512
TENSORS = ("token_embd.weight", "blk.0.attn_q.weight", "blk.7.attn_k.weight", "blk.29.ffn_down.weight", "output_norm.weight")


def to_float(kind, raw):
    return dequantize(raw, GGMLQuantizationType[kind]).astype("<f4").ravel()


def sha256(values):
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()


def case(kind, about, raw):
    values = to_float(kind, raw)
    assert np.isfinite(values).all()
    return {"type": kind, "about": about, "in": raw.tobytes().hex(), "out": values.astype("<f4").tobytes().hex()}


def plain_cases(random):
    halves = random.integers(0, 0x7c00, 64, dtype=np.uint16) | random.integers(0, 2, 64, dtype=np.uint16) << np.uint16(15)
    brains = random.integers(0, 0x7f80, 64, dtype=np.uint16) | random.integers(0, 2, 64, dtype=np.uint16) << np.uint16(15)
    yield case("F16", "random", halves.view(np.uint8))
    yield case("F16", "special", np.array(list(SPECIAL_HALVES.values()), np.uint16).view(np.uint8))
    yield case("BF16", "random", brains.view(np.uint8))
    yield case("BF16", "special", np.array([0, 0x8000, 1, 0x807f, 0x0080, 0x7f7f, 0xff7f, 0x3f80], np.uint16).view(np.uint8))


def block_cases(random, kind):
    halves = 2 if kind == "Q4_1" else 1  # step, and Q4_1's minimum

    def blocks(scales):
        raw = random.integers(0, 256, (len(scales), BLOCK_BYTES[kind]), dtype=np.uint8)
        raw[:, :2 * halves] = np.array(scales, np.uint16).reshape(len(scales), halves).view(np.uint8)
        return raw.ravel()

    ordinary = (random.standard_normal((16, halves)) * 0.05).astype(np.float16).view(np.uint16)
    yield case(kind, "random", blocks(ordinary))
    for about, bits in SPECIAL_HALVES.items():
        other = int(random.integers(0x2000, 0x3800))
        yield case(kind, about + " step", blocks([[bits, other][:halves]]))
        if halves == 2:
            yield case(kind, about + " minimum", blocks([[other, bits]]))
    if halves == 2:
        yield case(kind, "step and minimum that cancel", blocks([[0x3c00, 0xc700], [0x0001, 0x8007]]))
    extremes = np.zeros(BLOCK_BYTES[kind], np.uint8)
    extremes[:2 * halves] = np.array([0x2e66] * halves, np.uint16).view(np.uint8)
    extremes[2 * halves:] = np.resize(np.array([0x80, 0x7f, 0xff, 0x00, 0xf0, 0x0f], np.uint8), BLOCK_BYTES[kind] - 2 * halves)
    yield case(kind, "extreme weights", extremes)


def formula_blocks(kind):
    size, halves = FORMULA_BLOCKS[kind]
    raw = np.array([bits & 255 for bits in named_bits(kind, size * FORMULA_COUNT)], np.uint8).reshape(-1, size)
    for at in halves:
        raw[:, at + 1] &= 0xbf  # exponents below that of 2: finite
    values = to_float(kind, raw.ravel())
    assert np.isfinite(values).all()
    per_block = len(values) // FORMULA_COUNT
    return {"type": kind, "bytes": size, "halves": halves, "blocks": FORMULA_COUNT, "in": raw[0].tobytes().hex(),
            "out": values[:per_block].astype("<f4").tobytes().hex(), "sha256": sha256(values)}


def every_pattern(kind):
    bits = np.arange(1 << 16, dtype=np.uint16)
    infinity = 0x7c00 if kind == "F16" else 0x7f80
    return sha256(to_float(kind, bits[(bits & 0x7fff) <= infinity].view(np.uint8)))


def main(model, target):
    random = np.random.default_rng(20240607)
    cases = [*plain_cases(random), *block_cases(random, "Q8_0"), *block_cases(random, "Q4_1")]
    stored = {tensor.name: tensor for tensor in GGUFReader(model).tensors}
    tensors = [{"name": name, "type": stored[name].tensor_type.name, "elements": int(stored[name].n_elements),
                "sha256": sha256(dequantize(stored[name].data, stored[name].tensor_type))} for name in TENSORS]
    golden = {"cases": cases, "formula_blocks": [formula_blocks(kind) for kind in FORMULA_BLOCKS], "every_pattern": {kind: every_pattern(kind) for kind in ("F16", "BF16")}, "tensors": tensors}
    target.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
