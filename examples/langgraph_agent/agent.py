"""The council as the model of a LangGraph agent: it answers, the answer is checked, and a bad one is asked for again.

    pip install hafs langgraph
    python agent.py "Write a routine that clears a buffer." provider=openrouter router=keyword
    python agent.py "Write a routine that clears a buffer." provider=scripted router=keyword

Words with `=` are overrides of `hafs ask`; the others are the question.
"""

import re
import sys
from typing import Literal

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from hafs import council

MOST_ANSWERS = 3


def agent(overrides: list[str]):
    """A graph: council -> check -> council again, or the end."""
    model = council(overrides)

    async def answer(state: MessagesState) -> dict:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def check(state: MessagesState) -> dict:
        """Put your own check here: a compiler, a test, a schema."""
        if re.search(r"```\w*\n.+?```", str(state["messages"][-1].text), re.DOTALL):
            return {"messages": []}
        return {"messages": [HumanMessage("There is no code in your answer. Answer with one fenced block of code.")]}

    def after_check(state: MessagesState) -> Literal["answer", "__end__"]:
        answers = sum(isinstance(message, AIMessage) for message in state["messages"])
        refused = isinstance(state["messages"][-1], HumanMessage)
        return "answer" if refused and answers < MOST_ANSWERS else END

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_node("check", check)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", "check")
    graph.add_conditional_edges("check", after_check)
    return graph.compile(checkpointer=InMemorySaver())


async def main(words: list[str]) -> None:
    """Ask, and print every message with who answered it."""
    overrides = [word for word in words if "=" in word]
    question = " ".join(word for word in words if "=" not in word)
    thread = {"configurable": {"thread_id": "example"}}
    async for step in agent(overrides).astream({"messages": [HumanMessage(question)]}, thread, stream_mode="updates"):
        for node, update in step.items():
            for message in update["messages"]:
                experts = message.response_metadata.get("receipt", {}).get("routing", {}).get("picked", [])
                print(f"[{node}{': ' if experts else ''}{', '.join(experts)}] {message.text}")


if __name__ == "__main__":
    import asyncio

    asyncio.run(main(sys.argv[1:]))
