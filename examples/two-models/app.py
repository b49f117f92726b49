"""Answers a question out of a few notes: one model finds the note, another one answers with it.

Both models come from the environment, told apart by the prefixes that the Job gives them: CHAT_ and SEARCH_.
"""

import os

from openai import OpenAI

NOTES = (
    "The office opens at nine.",
    "Invoices are paid on the first Monday of the month.",
    "The coffee machine is descaled on Fridays.",
)
QUESTION = os.environ.get("QUESTION", "When are invoices paid?")


def client(prefix: str) -> OpenAI:
    """The client for the model with this prefix."""
    return OpenAI(base_url=os.environ[f"{prefix}OPENAI_BASE_URL"], api_key=os.environ[f"{prefix}OPENAI_API_KEY"])


def vectors(texts: list[str]) -> list[list[float]]:
    """One vector for each text."""
    answer = client("SEARCH_").embeddings.create(model=os.environ["SEARCH_OPENAI_MODEL"], input=texts)
    return [each.embedding for each in answer.data]


def nearest(question: str) -> str:
    """The note that is most like the question."""
    asked, *notes = vectors([question, *NOTES])
    likeness = [sum(a * b for a, b in zip(asked, note, strict=True)) for note in notes]
    return NOTES[likeness.index(max(likeness))]


def answer(question: str, note: str) -> str:
    """What the chat model says."""
    said = client("CHAT_").chat.completions.create(
        model=os.environ["CHAT_OPENAI_MODEL"],
        messages=[{"role": "system", "content": note}, {"role": "user", "content": question}],
    )
    return said.choices[0].message.content or ""


if __name__ == "__main__":
    found = nearest(QUESTION)
    print(f"note: {found}")
    print(f"answer: {answer(QUESTION, found)}")
