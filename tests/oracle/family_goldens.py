"""Has transformers run a tiny model of every family, whose logits ours must equal.

Weights are not stored: each follows from its name in the checkpoint and its index by the formula of `values`, which
tests/support/family_models.cpp evaluates too. A golden holds config.json, the names and shapes of the checkpoint's tensors, a
prompt, the number of parameters, a sample of the logits at fp32 over the prompt, and twenty greedy steps with a sample of their logits.
Sizes are odd on purpose: six query heads on two KV heads, heads wider than hidden / heads, a vocabulary of 61, windows shorter
than the text, soft-caps that bite, positions beyond the length from which rope frequencies change.
Needs Python 3.11, numpy 2.x, torch 2.11 or later, safetensors 0.8.0 and transformers 5.24.0.

    python3 tests/oracle/family_goldens.py tests/goldens/families [NAME ...]
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

from splitmix64 import named_bits

PROMPT, STEPS, EVERY = 40, 20, 4  # tokens, greedy steps, every which logit is kept
SIZES = dict(vocab_size=61, hidden_size=42, intermediate_size=38, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=8,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=None, pad_token_id=None, tie_word_embeddings=False)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
LATENT = dict(kv_lora_rank=14, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=10, num_key_value_heads=6, head_dim=4, first_k_dense_replace=3,
              n_routed_experts=2, n_shared_experts=1, num_experts_per_tok=1, n_group=1, topk_group=1, moe_intermediate_size=8)

# name: (config class, its fields, changes of config.json after transformers wrote it)
FAMILIES = {
    "llama": ("Llama", {}, {}),
    "llama_biases": ("Llama", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_parameters=LLAMA3), {}),
    "llama_linear": ("Llama", {}, {"rope_scaling": {"type": "linear", "factor": 3.0}, "rope_theta": 10000.0, "rope_parameters": None}),
    "llama_dynamic": ("Llama", dict(max_position_embeddings=48, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}), {}),
    "llama_yarn": ("Llama", dict(rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}), {}),
    "mistral": ("Mistral", dict(sliding_window=9), {}),
    "mixtral": ("Mixtral", dict(num_local_experts=5, num_experts_per_tok=2, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), {}),
    "qwen2": ("Qwen2", dict(use_sliding_window=True, sliding_window=7, max_window_layers=1), {}),
    "qwen3": ("Qwen3", dict(attention_bias=True), {}),
    "gemma": ("Gemma", dict(tie_word_embeddings=True), {}),
    "gemma2": ("Gemma2", dict(tie_word_embeddings=True, sliding_window=11, attn_logit_softcapping=2.0, final_logit_softcapping=0.6, query_pre_attn_scalar=5), {}),
    "phi3": ("Phi3", dict(hidden_size=48, head_dim=None, sliding_window=21, original_max_position_embeddings=47, rope_parameters={
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.3, 1.9], "long_factor": [1.5, 2.5, 4.0],
        "original_max_position_embeddings": 47}), {}),
    "mimo": ("Qwen2", {}, {"model_type": "mimo", "architectures": ["MiMoForCausalLM"], "num_nextn_predict_layers": 1, "attention_bias": True}),
    "deepseek_v2": ("DeepseekV2", dict(LATENT, q_lora_rank=11), {}),
    "deepseek_v3": ("DeepseekV3", dict(LATENT, q_lora_rank=None, attention_bias=True, rope_interleave=False, rope_parameters={
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32, "mscale": 0.7, "mscale_all_dim": 0.9}), {}),
}


def uniform(name, count):
    """24 bits of each number, in [-1, 1)."""
    return np.array([bits >> 40 for bits in named_bits(name, count)], dtype=np.float64) / 2**23 - 1


def values(name, shape, unit_norms):
    """Matrices of variance 2 / columns, embeddings about 1 (Gemma's are scaled by sqrt(width) later, so smaller), vectors of norms near
    their neutral value, biases small."""
    x = uniform(name, int(np.prod(shape)))
    if "norm" in name:
        x = 0.3 * x if unit_norms else 1 + 0.3 * x
    elif len(shape) == 1:
        x = 0.5 * x
    elif "embed_tokens" in name:
        x = (0.09 if unit_norms else 1.75) * x
    else:
        x = np.sqrt(6.0 / shape[-1]) * x
    return x.astype(np.float32).reshape(shape)


def write_checkpoint(name, folder):
    kind, fields, changes = FAMILIES[name]
    fields = {key: value for key, value in {**SIZES, **fields}.items() if not (key == "head_dim" and value is None)}
    config = getattr(transformers, kind + "Config")(**fields)
    getattr(transformers, kind + "ForCausalLM")(config).save_pretrained(folder)
    shapes = {tensor: list(array.shape) for tensor, array in load_file(folder / "model.safetensors").items()}
    unit = kind.startswith("Gemma")
    save_file({tensor: values(tensor, shape, unit) for tensor, shape in shapes.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    written = json.loads((folder / "config.json").read_text())
    written.update(changes)
    written = {key: value for key, value in written.items() if value is not None or key not in changes}
    return kind, written, shapes


def run(name):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kind, config, shapes = write_checkpoint(name, folder)
        if name != "mimo":
            (folder / "config.json").write_text(json.dumps(config))
        model = getattr(transformers, kind + "ForCausalLM").from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
        parameters = model.num_parameters()  # tied ones once
        prompt = [int(x) for x in (uniform("prompt of " + name, PROMPT) + 1) / 2 * SIZES["vocab_size"]]
        kept = slice(None, None, EVERY)
        with torch.no_grad():
            out = model(torch.tensor([prompt]), use_cache=True)
            past, rows, ids = out.past_key_values, [], []
            start = out.logits[0]
            last = start[-1]
            for _ in range(STEPS):
                ids.append(int(last.argmax()))
                out = model(torch.tensor([[ids[-1]]]), past_key_values=past, use_cache=True)
                past, last = out.past_key_values, out.logits[0, -1]
                rows.append(last)
    if name == "mimo":  # layers for further tokens, which take no part
        shapes.update({"model.mtp_layers.0.input_proj.weight": [42, 84], "model.mtp_layers.0.self_attn.q_proj.bias": [48]})
    if kind == "Llama" and config.get("tie_word_embeddings"):
        assert "lm_head.weight" not in shapes
    numbers = lambda t: [float(f"{x:.7g}") for x in t.flatten().tolist()]
    every = np.arange(0, PROMPT, 5).tolist()
    return {"versions": {"transformers": transformers.__version__, "torch": torch.__version__}, "config": config, "unit_norms": kind.startswith("Gemma"), "parameters": parameters,
            "tensors": shapes, "prompt": prompt, "every": EVERY, "positions": every, "largest": float(start.abs().max()),
            "prompt_logits": [numbers(start[t][kept]) for t in every], "greedy": ids, "step_logits": [numbers(row[kept]) for row in rows]}


def main(folder, names):
    for name in names or FAMILIES:
        golden = run(name)
        (folder / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
        print(name, "largest logit", round(golden["largest"], 3), golden["greedy"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
