"""An inspect-ai task on lab problems, and a provider that counts and stops as an API does.

inspect-ai 0.3.285, torch 2.13.0, transformers, accelerate, no network.

    python tests/readers/make_fixtures/lab.py /tmp/lab
    cp tests/readers/make_fixtures/for_inspect_ai.py /tmp/lab/lab_task.py
    cd /tmp/lab && export HF_HUB_OFFLINE=1
    python lab_task.py lab/model 3 8 eval    # lab.eval
    python lab_task.py lab/model 2 2 json    # lab.json
    python lab_task.py hf/lab 2 3 eval       # hf.eval

All three are kept as inspect wrote them. Its own hf provider states no stop reason and counts
every completion at the length of its batch's longest.
"""

import sys

from inspect_ai import Task, eval, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer, stderr
from inspect_ai.solver import generate


@modelapi(name="lab")
class LabAPI(ModelAPI):
    def __init__(self, model_name, base_url=None, api_key=None, config=None, **_):
        super().__init__(model_name, base_url, api_key)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(0)
        self.model = AutoModelForCausalLM.from_pretrained(model_name)
        self.tokenizer = AutoTokenizer.from_pretrained(model_name)

    def max_connections(self):
        return 1

    async def generate(self, input, tools, tool_choice, config):
        ids = self.tokenizer(f"<user>{input[-1].text}<assistant>", return_tensors="pt")
        out = self.model.generate(**ids, max_new_tokens=config.max_tokens)[0]
        new = out[ids["input_ids"].shape[1] :].tolist()
        stopped = new[-1] == self.tokenizer.eos_token_id
        text = self.tokenizer.decode(new, skip_special_tokens=True)
        message = ChatMessageAssistant(content=text, model=self.model_name, source="generate")
        reason = "stop" if stopped else "max_tokens"
        used = ids["input_ids"].shape[1]
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=reason)],
            usage=ModelUsage(
                input_tokens=used, output_tokens=len(new), total_tokens=used + len(new)
            ),
        )


@scorer(metrics=[accuracy(), stderr()])
def after_thinking():
    async def score(state, target):
        found = state.output.completion.rpartition("</think>")[2].strip()
        return Score(value=CORRECT if found == target.text else INCORRECT, answer=found)

    return score


def as_sample(line):
    return Sample(id=line["id"], input=line["prompt"], target=line["answer"])


@task
def lab():
    return Task(
        dataset=json_dataset("ten/test.jsonl", as_sample),
        solver=generate(),
        scorer=after_thinking(),
    )


if __name__ == "__main__":
    model, epochs, limit, form = sys.argv[1:]
    own = {"model_path": "model", "device": "cpu"} if model == "hf/lab" else {}
    eval(
        lab(),
        model=model,
        model_args=own,
        epochs=int(epochs),
        limit=int(limit),
        max_tokens=64,
        temperature=0.9,
        log_dir="logs",
        log_format=form,
        display="plain",
    )
