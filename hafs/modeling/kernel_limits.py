"""Sizes that decide how this package's kernels work and how much memory they take; a plan reads them without torch."""

SHORT = 512
"""Samples up to this many tokens take the explicit product on a CPU, whose backward is twice as fast as SDPA's there;
its memory grows with the square of the length, so longer ones take SDPA."""
LOSS_CHUNK_BYTES = {"cpu": 24 << 20}
"""Bytes of one chunk's float32 logits: small enough for a CPU's cache to help, large enough to fill a GPU. With those
in 16 bits beside them more than 32 MiB, the most that glibc keeps in its heap."""
GPU_LOSS_CHUNK_BYTES = 256 << 20
