"""From raw JSONL to a routed council of fine-tuned experts, declared in one Hydra tree."""
