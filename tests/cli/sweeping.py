"""Servers of every kind that a sweep meets: levels that work, do nothing, go the wrong way, ..."""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "http"))
from faulty_server import choice, completion, reply

LENGTHS = {"low": 100, "medium": 200, "high": 400}


def number_of(body):
    return body["messages"][-1]["content"].split()[-1]


def drawn(body, mean, *, salt=""):
    """A length that the request decides: harder problems are longer, and samples vary."""
    draw = random.Random(f"{number_of(body)} {body.get('seed')} {salt}")
    hardness = 0.5 + int(number_of(body)) % 10 / 10
    return max(4, round(mean * hardness * draw.uniform(0.7, 1.3)))


def said(body, tokens, *, salt="", **usage):
    """A reply of so many tokens: right where the problem's number is even, else more so if long."""
    right = int(number_of(body)) % 2 == 0 or tokens > 150
    answer = number_of(body) if right else "none"
    text = f"Seed {body.get('seed')}{salt} gives {answer}"
    cut = tokens > body["max_tokens"]
    tokens = min(tokens, body["max_tokens"])
    finish = "length" if cut else "stop"
    return reply(completion(choice(text, finish=finish), tokens=tokens, **usage))


def working(body):
    """An effort makes for its length."""
    effort = body["reasoning_effort"]
    return said(body, drawn(body, LENGTHS[effort], salt=effort), salt=effort)


def idle(body):
    """All efforts have one length, though the samples are drawn anew."""
    effort = body["reasoning_effort"]
    return said(body, drawn(body, 200, salt=effort), salt=effort)


def deaf(body):
    """The effort changes nothing at all."""
    return said(body, drawn(body, 200))


def cleverer(body):
    """A higher effort is right more often, in as many tokens."""
    effort, number = body["reasoning_effort"], number_of(body)
    answer = number if effort == "high" else "none"
    text = f"Seed {body.get('seed')}{effort} gives {answer}"
    return reply(completion(choice(text), tokens=100 + int(number)))


def reversed_order(body):
    effort = body["reasoning_effort"]
    return said(body, drawn(body, 40000 / LENGTHS[effort], salt=effort), salt=effort)


def half_idle(body):
    """medium is what low is."""
    effort = body["reasoning_effort"]
    length = 400 if effort == "high" else 100
    return said(body, drawn(body, length, salt=effort), salt=effort)


def refusing(body):
    """medium is not known."""
    if body["reasoning_effort"] == "medium":
        return reply({"error": {"message": "reasoning_effort: no such level"}}, status=400)
    return working(body)


def keeping_budgets(body):
    budget = body["thinking_token_budget"]
    return said(body, min(drawn(body, 300, salt=budget), budget), salt=str(budget))


def ignoring_budgets(body):
    budget = body["thinking_token_budget"]
    return said(body, drawn(body, 300, salt=budget), salt=str(budget))


def loose_budgets(body):
    """Lengths follow the budget, about a quarter above it on average."""
    budget = body["thinking_token_budget"]
    return said(body, drawn(body, 1.3 * budget, salt=budget), salt=str(budget))


def hiding_reasoning(body):
    """Leaves the thinking out of its count, and shows it."""
    effort = body["reasoning_effort"]
    thought = f"seed {body['seed']} " * drawn(body, LENGTHS[effort], salt=effort)
    return reply(completion(choice(number_of(body), reasoning_content=thought), tokens=2))
