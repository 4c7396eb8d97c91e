"""The OpenAI-compatible server over a council."""
