"""Base model, quantization, adapter, attention, loss, generation, likelihood, hardware."""
