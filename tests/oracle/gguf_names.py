"""Has the `gguf` package say which tensor of a llama.cpp file holds which one of Hugging Face's, and under which key a number stands.

What core/checkpoint/gguf_names.cpp and gguf_config.cpp must agree with. Experts are merged before llama.cpp's converter asks for a
name, so they are asked for in its spelling. Needs Python 3.11 and gguf 0.19.0.

    python3 tests/oracle/gguf_names.py tests/goldens/gguf_names.json
"""
import json
import sys
from pathlib import Path

import gguf

COMMON = ["model.embed_tokens", "model.norm", "lm_head"]
ATTENTION = [f"self_attn.{x}_proj" for x in "qkvo"]
MLP = [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
NORMS = ["input_layernorm", "post_attention_layernorm"]
LAYERS = {
    "llama": (gguf.MODEL_ARCH.LLAMA, ATTENTION + MLP + NORMS),
    "mixtral": (gguf.MODEL_ARCH.LLAMA, ATTENTION + NORMS + ["block_sparse_moe.gate"]),
    "qwen2": (gguf.MODEL_ARCH.QWEN2, ATTENTION + MLP + NORMS),
    "qwen3": (gguf.MODEL_ARCH.QWEN3, ATTENTION + MLP + NORMS + ["self_attn.q_norm", "self_attn.k_norm"]),
    "gemma": (gguf.MODEL_ARCH.GEMMA, ATTENTION + MLP + NORMS),
    "gemma2": (gguf.MODEL_ARCH.GEMMA2, ATTENTION + MLP + NORMS + ["pre_feedforward_layernorm", "post_feedforward_layernorm"]),
    "phi3": (gguf.MODEL_ARCH.PHI3, ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"] + NORMS),
}
KEYS = gguf.Keys
NUMBERS = {
    "context_length": KEYS.LLM.CONTEXT_LENGTH, "embedding_length": KEYS.LLM.EMBEDDING_LENGTH, "block_count": KEYS.LLM.BLOCK_COUNT,
    "feed_forward_length": KEYS.LLM.FEED_FORWARD_LENGTH, "heads": KEYS.Attention.HEAD_COUNT, "kv_heads": KEYS.Attention.HEAD_COUNT_KV,
    "key_length": KEYS.Attention.KEY_LENGTH, "value_length": KEYS.Attention.VALUE_LENGTH, "eps": KEYS.Attention.LAYERNORM_RMS_EPS,
    "window": KEYS.Attention.SLIDING_WINDOW, "attention_softcap": KEYS.LLM.ATTN_LOGIT_SOFTCAPPING, "logit_softcap": KEYS.LLM.FINAL_LOGIT_SOFTCAPPING,
    "experts": KEYS.LLM.EXPERT_COUNT, "experts_used": KEYS.LLM.EXPERT_USED_COUNT, "rope_dims": KEYS.Rope.DIMENSION_COUNT, "theta": KEYS.Rope.FREQ_BASE,
    "rope_type": KEYS.Rope.SCALING_TYPE, "rope_factor": KEYS.Rope.SCALING_FACTOR, "rope_attn_factor": KEYS.Rope.SCALING_ATTN_FACTOR,
    "rope_length": KEYS.Rope.SCALING_ORIG_CTX_LEN,
}


def main(target):
    golden = {"gguf": "0.19.0", "keys": {name: key.replace("{arch}.", "") for name, key in NUMBERS.items()}, "tensors": {}, "architectures": {}}
    for family, (arch, parts) in LAYERS.items():
        table = gguf.get_tensor_name_map(arch, 4)
        hf = COMMON + [f"model.layers.3.{part}" for part in parts]
        names = {name: table.get_name(name) for name in hf if table.get_name(name)}
        if family == "mixtral":
            names.update({f"experts.{w}": table.get_name(f"layers.3.feed_forward.experts.{w}") for w in ("w1", "w2", "w3")})
        golden["tensors"][family] = names
        golden["architectures"][family] = gguf.MODEL_ARCH_NAMES[arch]
    golden["rope_tensors"] = {name: gguf.TENSOR_NAMES[kind] for name, kind in (("always", gguf.MODEL_TENSOR.ROPE_FREQS),
                              ("short", gguf.MODEL_TENSOR.ROPE_FACTORS_SHORT), ("long", gguf.MODEL_TENSOR.ROPE_FACTORS_LONG))}
    target.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
