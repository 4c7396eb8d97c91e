"""Chains of providers for tests."""

import asyncio
from functools import reduce
from operator import add

from hafs.providers.failover import failover
from hafs.providers.policy import Policy
from hafs.providers.provider import Provider
from hafs.providers.quota import Ledger, Limits
from hafs.providers.remote import openai_compatible
from hafs.providers.scripted import Scripted

TIERS = ("fast", "coding", "reasoning", "cheap", "fallback")
POLICY = {
    "deadline_seconds": 3.0,
    "attempt_seconds": 0.4,
    "first_token_seconds": 0.3,
    "idle_seconds": 0.3,
    "slow_tokens_per_second": 8.0,
    "calls": 8,
    "calls_per_account": 2,
    "backoff_seconds": 0.1,
    "longest_backoff_seconds": 1.0,
    "quota_backoff_seconds": 3600.0,
    "on_cut": "continue",
}
NO_LIMITS = {
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "requests_per_day": None,
    "tokens_per_day": None,
}
SCRIPT = {"answers": {}, "otherwise": "one two three", "first_token_seconds": 0, "token_seconds": 0}
SCRIPT |= {"faults": [], "repeat_faults": False}


def provider(host, **facts):
    usual = {
        "name": "first",
        "models": dict.fromkeys(TIERS, "m"),
        "context": dict.fromkeys(TIERS, 8192),
        "parameters": ["temperature", "max_tokens", "stop", "tools", "tool_choice"],
        "limits": Limits(**{**NO_LIMITS, **facts.pop("limits", {})}),
        "equivalents": {},
        "price": None,
    }
    return Provider(host=host, **{**usual, **facts})


def scripted(**facts):
    script = {key: facts.pop(key) for key in list(facts) if key in SCRIPT}
    return provider(Scripted(**{**SCRIPT, **script}), **facts)


def remote(url, *, key=None, headers=None, **facts):
    """A provider behind an address; accounts differ by their variable, as they do between hosts."""
    host = openai_compatible(base_url=url, api_key_env=key, headers=headers or {}, adapters=False, body={})
    return provider(host, **facts)


def chain(*providers, ledger=None, tier="coding", **words):
    policy = Policy(**{**POLICY, **{key: words.pop(key) for key in list(words) if key in POLICY}})
    return failover(providers, tier, policy=policy, ledger=ledger or Ledger(None), **words)


def outcomes(message):
    return [attempt["outcome"] for attempt in message.response_metadata["attempts"]]


MODES = ["invoke", "stream", "ainvoke", "astream"]


def ask(model, mode, question="Why?"):
    """The message of an answer, however it is asked for."""

    async def streamed():
        whole = None
        async for chunk in model.astream(question):
            whole = chunk if whole is None else whole + chunk
        return whole

    match mode:
        case "invoke":
            return model.invoke(question)
        case "stream":
            return reduce(add, model.stream(question))
        case "ainvoke":
            return asyncio.run(model.ainvoke(question))
        case _:
            return asyncio.run(streamed())
