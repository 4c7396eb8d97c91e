"""`ChatOpenAI.with_fallbacks`, set up as well as its options allow: no retries of its own, a second of patience."""

import measure
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI


def chain(first, second, key):
    models = [
        ChatOpenAI(model="m", base_url=url, api_key="sk-x", max_retries=0, timeout=1.0) for url in (first, second)
    ]
    return models[0].with_fallbacks([models[1]])


def inside():
    return {"inside": FakeListChatModel(responses=["yes"]).with_fallbacks([FakeListChatModel(responses=["no"])])}


def sync(model):
    return model.invoke(measure.QUESTION).content


def stream(model):
    return "".join(chunk.content for chunk in model.stream(measure.QUESTION))


async def asynchronous(model):
    return (await model.ainvoke(measure.QUESTION)).content


async def astream(model):
    return "".join([chunk.content async for chunk in model.astream(measure.QUESTION)])


if __name__ == "__main__":
    import with_fallbacks

    measure.main(with_fallbacks)
