"""Cuts the goldens of the reference programs down to what the tests read.

The reference folder holds what the original Python programs gave on SmolLM2-135M-Instruct (Q4_1, dequantised to fp32):
TransMLA and MHA2MLA at their published revisions under torch 2.11.0 and transformers 4.52.4, calibrated on the ids in
calibration_tokens.json. Logits are thinned to every 48th vocabulary entry. Needs Python 3.11 and numpy.

    python3 tests/oracle/reference_goldens.py REFERENCE_FOLDER tests/goldens
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np

STRIDE = 48
TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


def read_safetensors(path):
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    data = raw[8 + size:]
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()}


def write_safetensors(tensors, path):
    names = {np.dtype(kind): name for name, kind in TYPES.items()}
    header, body = {}, b""
    for name, value in sorted(tensors.items()):
        value = np.ascontiguousarray(value)
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": [len(body), len(body) + value.nbytes]}
        body += value.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def main(source, target):
    rows = [row for row in json.loads((source / "peers_smollm2.json").read_text()) if row.get("reproduce")]
    keep = ("id", "peer", "config", "protocol", "ppl_original", "ppl_partial_rope", "ppl_mla", "kv_values_per_token_per_layer")
    (target / "peers_smollm2.json").write_text(json.dumps([{k: row[k] for k in keep} for row in rows], indent=1) + "\n")

    batches = json.loads((source / "calibration_tokens.json").read_text())["batches"]
    (target / "calibration_tokens.json").write_text(json.dumps({"batches": [{"input_ids": b["input_ids"]} for b in batches]}, separators=(",", ":")) + "\n")

    ranks = json.loads((source / "mha2mla_2norm_rank.json").read_text())
    ranks = np.array(ranks["ranks"] if isinstance(ranks, dict) else ranks)[:, :, :32]  # the two halves repeat
    (target / "mha2mla_2norm_rank.json").write_text(json.dumps(ranks.tolist(), separators=(",", ":")) + "\n")

    tensors = {name: value for name, value in read_safetensors(source / "transmla_ff4_r128.safetensors").items() if not name.startswith("pr_k_")}
    for name in ("orig_logits", "partial_rope_logits", "mla_logits"):
        tensors[name] = tensors[name][:, ::STRIDE]
    write_safetensors(tensors, target / "transmla_ff4_r128.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
