"""LiteLLM's Router, set up as well as its options allow: fallbacks, no retries before them, a second of patience."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOG"] = "CRITICAL"

import litellm
import measure
from litellm import Router

litellm.telemetry = False
litellm.suppress_debug_info = True
MESSAGES = [{"role": "user", "content": measure.QUESTION}]


def made(*parameters):
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/m", "api_key": "sk-x", **given}}
        for name, given in zip(("first", "second"), parameters, strict=True)
    ]
    return Router(
        model_list=models,
        fallbacks=[{"first": ["second"]}],
        num_retries=0,
        timeout=1.0,
        stream_timeout=1.0,
        allowed_fails=0,
        cooldown_time=30,
        disable_cooldowns=False,
    )


def chain(first, second, key):
    return made({"api_base": first}, {"api_base": second})


def inside():
    return {"inside": made({"mock_response": "yes"}, {"mock_response": "no"})}


def sync(router):
    return router.completion(model="first", messages=MESSAGES).choices[0].message.content


def stream(router):
    chunks = router.completion(model="first", messages=MESSAGES, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def asynchronous(router):
    return (await router.acompletion(model="first", messages=MESSAGES)).choices[0].message.content


async def astream(router):
    chunks = await router.acompletion(model="first", messages=MESSAGES, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


if __name__ == "__main__":
    import litellm_router

    measure.main(litellm_router)
