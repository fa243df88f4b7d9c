"""A made-up model behind a server, of which a test says what the server can do.

A token is a character. Asked for a problem, the model thinks for as long as its seed says and
gives the number in the question. Gone on from closed thinking, it gives that number if it has
thought for long enough, and 0 if not.
"""

from dataclasses import dataclass

from faulty_server import choice, completion, reply

ENOUGH = 12


def thought(number, seed):
    """What the model says by itself."""
    return f"<think>{'hm ' * (4 + seed % 9)}</think>{number}"


def gone_on(number, begun):
    """What it says after the beginning of an answer."""
    thinking, closed, after = begun.partition("</think>")
    if not closed:
        return f" and on</think>{number}"
    said = str(number) if len(thinking) - len("<think>") >= ENOUGH else "0"
    return said[len(after) :]


def written(question):
    """The chat template."""
    return f"[{question}]"


@dataclass
class Talker:
    """``ids``: it knows return_token_ids, /tokenize and prompts of ids; ``logprobs``: it tells.
    ``completions``, ``goes_on``: it has the one endpoint, and honours the flags of the other;
    ``refuses``: it refuses the flags; ``half``: it adds no turn of its own where it is told so, and
    ends the prefix's all the same; ``adds``: tokens that its template puts before a prefix.
    """

    ids: bool = False
    logprobs: bool = True
    completions: bool = False
    goes_on: bool = False
    refuses: bool = False
    half: bool = False
    adds: int = 0

    def __call__(self, body):
        if "add_special_tokens" in body:  # /tokenize
            found = {"tokens": [ord(c) for c in body["prompt"]]} if self.ids else {}
            return reply(found, status=200 if self.ids else 404)
        if "prompt" in body:
            return self.completion(body)
        return self.chat(body)

    def completion(self, body):
        if not self.completions:
            return reply({"detail": "Not Found"}, status=404)
        prompt = body["prompt"]
        if not isinstance(prompt, str):
            prompt = "".join(map(chr, prompt))
        question, _, begun = prompt.partition("]")
        said = gone_on(question.split()[-1], begun)[: body["max_tokens"]]
        made = {"index": 0, "text": said, "finish_reason": "stop"}
        used = {"prompt_tokens": len(prompt)}
        return reply(completion(made, tokens=len(said) + 1, **used))

    def chat(self, body):
        if not self.ids and body.get("return_token_ids"):
            return reply({"error": "unknown field return_token_ids"}, status=422)
        question, *rest = [message["content"] for message in body["messages"]]
        number, cap = question.split()[-1], body["max_tokens"]
        prompt = written(question)
        if rest:
            flags = body.get("continue_final_message")
            if self.refuses and flags:
                return reply({"error": "unknown field continue_final_message"}, status=422)
            whole = gone_on(number, rest[0]) if flags and self.goes_on else thought(number, 1)
            end = "</s>" if self.half and not body.get("add_generation_prompt", True) else "</s>[a]"
            prompt += rest[0] + "+" * self.adds + ("" if flags and self.goes_on else end)
        else:
            whole = thought(number, body["seed"])
        return self.said(body, prompt, whole, cap)

    def said(self, body, prompt, whole, cap):
        text, stopped = whole[:cap], len(whole) < cap
        made = choice(text, finish="stop" if stopped else "length")
        tokens = [*text, "</s>"] if stopped else [*text]
        if body.get("logprobs") and self.logprobs:
            made["logprobs"] = {"content": [{"token": t, "logprob": -1.0} for t in tokens]}
        told = completion(made, tokens=len(tokens), prompt_tokens=len(prompt))
        if body.get("return_token_ids"):
            made["token_ids"] = [0 if t == "</s>" else ord(t) for t in tokens]
            told["prompt_token_ids"] = [ord(c) for c in prompt]
        return reply(told)
