"""Tiny networks of every causal language model type that transformers knows, with all that makes a type special.

Fields that checkpoints set are set here too, to values at which they show: windows shorter than the samples, softcaps
that bind, scales that are not 1.
"""

import contextlib
import dataclasses
from typing import Any

import torch

VOCAB, HIDDEN = 160, 64
TOO_LARGE = 60_000_000


def _all(names: str, value: object) -> dict[str, object]:
    return dict.fromkeys(names.split(), value)


SHRINK = {
    # widths
    **_all("hidden_size n_embd d_model emb_dim word_embed_proj_dim embedding_size embedding_dim "
                    "input_embedding_size output_embedding_size backbone_hidden_size lru_width width", HIDDEN),
    **_all("vocab_size decoder_vocab_size unpadded_vocab_size vocab_size_per_layer_input", VOCAB),
    **_all("intermediate_size ffn_dim n_inner d_inner ffn_hidden_size decoder_ffn_dim encoder_ffn_dim "
                    "feed_forward_size dim_ff dff intermediate_size_mlp dense_intermediate_size "
                    "prefix_dense_intermediate_size block_ffn_dim", 96),
    **_all("moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size "
                    "expert_ffn_hidden_size moe_shared_expert_intermediate_size shared_experts_intermediate_size "
                    "router_hidden_size", 32),
    # depth
    **_all("num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_blocks "
                    "num_decoder_layers num_encoder_layers", 4),
    # heads
    **_all("num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads "
                    "attention_heads num_decoder_attention_heads num_encoder_attention_heads "
                    "swa_num_attention_heads", 4),
    **_all("num_key_value_heads num_kv_heads swa_num_key_value_heads", 2),
    **_all("head_dim dim_head kv_channels d_head attention_head_size attention_head_dim swa_head_dim "
                    "global_head_dim", 16),
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
    "qk_head_dim": 16, "o_lora_rank": 16, "rotary_dim": 8,
    # experts
    **_all("n_routed_experts num_experts num_local_experts moe_num_experts", 8),
    **_all("num_experts_per_tok moe_topk moe_k top_k_experts", 2),
    **_all("n_shared_experts num_shared_experts first_k_dense_replace num_dense_layers topk_group", 1),
    "n_group": 2,
    # reach
    **_all("sliding_window sliding_window_size window_size local_attention attention_window_size "
                    "keep_window_size", 8),
    "attention_chunk_size": 16, "max_window_layers": 2, "use_sliding_window": True, "sliding_window_pattern": 2,
    **_all("max_position_embeddings n_positions n_ctx max_seq_len context_length "
                    "original_max_position_embeddings max_target_positions", 256),
    "index_head_dim": 16, "index_n_heads": 4, "index_topk": 8,
    # states
    "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_heads": 8, "mamba_d_head": 16,
    "mamba_n_groups": 1, "mamba_chunk_size": 16, "state_size": 16, "time_step_rank": 8, "mamba_dt_rank": 8,
    "ssm_state_size": 16, "mamba_num_heads": 8, "mamba_head_dim": 16, "n_groups": 1, "chunk_size": 16,
    "n_mamba_heads": 2, "mamba_d_ssm": 128, "mamba_headdim": 16, "mamba_ngroups": 1,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4, "linear_head_dim": 16, "linear_num_heads": 4,
    # ids
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "is_decoder": True, "add_cross_attention": False,
    # as in checkpoints, but so that it shows
    "final_logit_softcapping": 5.0, "attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 24,
    "logits_scaling": 2.5, "logit_scale": 0.4, "embedding_multiplier": 2.0, "residual_multiplier": 0.6,
    "attention_multiplier": 0.2, "lm_head_multiplier": 0.5, "key_multiplier": 0.7, "attention_out_multiplier": 0.8,
    "scale_emb": 2.0, "dim_model_base": 32, "hidden_size_per_layer_input": 16, "laurel_rank": 8,
    "num_kv_shared_layers": 0,
}  # fmt: skip
DROPOUT = ("dropout", "pdrop", "layerdrop", "jitter")

MLA = {"num_key_value_heads": 4, "drop": ("head_dim",)}
HYBRID = ["mamba", "attention", "mamba", "attention"]
OVER: dict[str, dict[str, Any]] = {
    "axk1": MLA, "axk2": MLA, "deepseek_v2": MLA, "deepseek_v3": MLA, "deepseek_v32": MLA, "glm4_moe_lite": MLA,
    "glm_moe_dsa": MLA, "longcat_flash": MLA | {"num_layers": 2}, "minicpm3": MLA, "youtu": MLA,
    "dots3_note_text": {"num_key_value_heads": 4, "drop": ("head_dim",)},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
              "use_mamba_kernels": False},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": HYBRID},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "mlp", "moe"]},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "zamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"]},
    "dbrx": {"attn_config": {"attn_pdrop": 0.0, "clip_qkv": 8.0, "kv_n_heads": 2, "rope_theta": 10000.0},
             "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 8, "moe_top_k": 2, "moe_jitter_eps": 0.0,
                            "hidden_size": 64}},
    "reformer": {"axial_pos_embds_dim": [32, 32], "axial_pos_shape": [4, 10], "attn_layers": ["local", "lsh"] * 2,
                 "num_buckets": 4, "lsh_attn_chunk_length": 8, "local_attn_chunk_length": 8, "is_decoder": True,
                 "drop": ("num_hidden_layers",)},
    "gemma3": {"text.vocab_size": 160, "vision_config": {"hidden_size": 32, "intermediate_size": 48,
               "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14},
               "mm_tokens_per_image": 4},
    "fuyu": {"text.vocab_size": 160, "text_type": "persimmon", "image_size": 30, "patch_size": 10},
    "llama4": {}, "qwen4_exp": {}, "got_ocr2": {"text.vocab_size": 160, "text_type": "qwen2"},
    "moss_transcribe_diarize": {"text.vocab_size": 160, "text_type": "qwen3"},
    "git": {"vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4,
                                                                   "mrope_section": [4, 2, 2]},
                                                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4,
                                                                      "mrope_section": [4, 2, 2]}}},
}  # fmt: skip
QSA = {"indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 16,
       "indexer_compress_ratio": 4, "ngram_vocab_size_base": 50, "split_ngram_parts": 1, "heads_per_ngram": 2,
       "make_ngram_vocab_size_divisible_by": 8, "hc_lowrank": 16}  # fmt: skip
OVER["qwen4_exp_text"] = QSA
OVER["qwen4_exp"] = {f"text.{key}": value for key, value in QSA.items()}
OVER["xmod"] = {"default_language": "en_XX", "languages": ["en_XX"]}
OVER["longcat_flash"] = {"num_key_value_heads": 4, "num_layers": 2, "head_dim": 8}
OVER["musicgen"] = OVER["musicgen_melody"] = {"drop": ("dropout",)}
OVER["zamba"] = {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "use_mamba_kernels": False}

OVER["zaya"] = {"num_experts_per_tok": 1}
OVER["dots3_note_text"] = {
    "num_key_value_heads": 4,
    "drop": ("head_dim",),
    "swa_kv_lora_rank": 16,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 4,
    "hidden_size": 64,
}
# Gemma 3's and VaultGemma's checkpoints have no softcaps, Gemma 2's, 3n's and 4's do
OVER["gemma3_text"] = {"final_logit_softcapping": None, "attn_logit_softcapping": None}
OVER["gemma3"] = OVER["gemma3"] | {f"text.{key}": None for key in OVER["gemma3_text"]}
OVER["vaultgemma"] = dict(OVER["gemma3_text"])
"""What a type needs beyond; `text.` goes into its text_config, `drop` takes fields away."""


def shrunk(cls: Any, over: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """A config of a class with small values; inside another config, the values alone."""
    fields = {field.name for field in dataclasses.fields(cls)}
    given = {name: SHRINK[name] for name in fields if name in SHRINK}
    given |= {name: 0.0 for name in fields - given.keys() if any(word in name for word in DROPOUT)}
    for key in {"text_config", "decoder_config", "decoder"} & fields & set(getattr(cls, "sub_configs", {})):
        sub = cls.sub_configs[key]
        if dataclasses.is_dataclass(sub) and sub.__name__ != "AutoConfig":
            with contextlib.suppress(Exception):  # then as the class has it
                given[key] = shrunk(sub, depth=depth + 1)
    over = dict(over or {})
    drop = over.pop("drop", ())
    return _accepted(cls, {k: v for k, v in given.items() if k not in drop}, over, depth)


def _accepted(cls: Any, given: dict[str, Any], over: dict[str, Any], depth: int) -> Any:
    """Typed fields refuse what they are not: those are dropped, one after the other."""
    while True:
        every = given | over
        try:
            made = cls(**every)
            return {k: v for k, v in made.to_dict().items() if k in every} if depth else made
        except Exception as error:
            bad = next((k for k in given if k not in over and f"'{k}'" in str(error)), None)
            if bad is None:
                raise
            del given[bad]


def tiny_config(kind):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    cls = CONFIG_MAPPING[kind]
    over = dict(OVER.get(kind, {}))
    text = {k[5:]: over.pop(k) for k in list(over) if k.startswith("text.")}
    if text or "text_config" in over:
        sub = cls.sub_configs["text_config"]
        if sub.__name__ == "AutoConfig":
            sub = CONFIG_MAPPING[over.pop("text_type")]
        made = shrunk(sub, text, depth=0).to_dict()
        over["text_config"] = made
    return shrunk(cls, over)


KEEP = ("A_log", "dt_bias", ".D", "conv1d", "time_decay", "time_first", "inv_freq", "rotary", "a_param")


def randomize(net, seed):
    """Weights of a size at which attention matters, norms and biases that are not 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(m.weight) for m in net.modules() if isinstance(m, torch.nn.Embedding)}
    norms = {id(p) for m in net.modules() if "norm" in type(m).__name__.lower() for p in m.parameters(recurse=False)}
    with torch.no_grad():
        for name, p in net.named_parameters():
            if not p.is_floating_point():
                continue
            noise = torch.randn(p.shape, generator=generator)
            if any(word in name for word in KEEP):
                if not p.isfinite().all():
                    p.copy_(noise * 0.1)
                continue
            if id(p) in norms or p.ndim < 2:
                if not p.isfinite().all() or p.abs().max() > 100:
                    p.zero_()
                p.add_(noise * 0.2)
            elif id(p) in embeddings:
                p.copy_(noise * 0.25)
            else:
                fan = min(p.shape[-1], p.shape[-2]) if p.ndim == 3 else p.shape[-1]
                p.copy_(noise * (1.2 / max(1, fan) ** 0.5))


def build(kind, folder, seed=0):
    """Save a tiny model; returns its class and number of parameters."""
    from transformers import AutoModelForCausalLM

    config = tiny_config(kind)
    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    count = sum(p.numel() for p in net.parameters())
    if count > 60e6:
        big = sorted(((p.numel(), n, tuple(p.shape)) for n, p in net.named_parameters()), reverse=True)[:3]
        raise RuntimeError(f"not tiny: {count / 1e6:.0f} M, {big}")
    torch.manual_seed(seed)
    net = AutoModelForCausalLM.from_config(tiny_config(kind), attn_implementation="eager", dtype=torch.float32)
    randomize(net, seed)
    if net.generation_config is not None:
        for key in (
            "eos_token_id",
            "forced_eos_token_id",
            "forced_bos_token_id",
            "suppress_tokens",
            "begin_suppress_tokens",
            "bad_words_ids",
            "max_length",
        ):
            if hasattr(net.generation_config, key):
                setattr(net.generation_config, key, None if key != "max_length" else 20)
        net.generation_config.pad_token_id = 0
    net.save_pretrained(folder)
    return type(net).__name__, count
