"""What a chat template is given, and a system prompt: in prompts, on the wire, in the manifest."""

import json
import shutil
from dataclasses import replace

import pytest
from serving import answers, plan

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.forcing import TokenRecord
from tersely.core.jsonl import read
from tersely.core.manifest import EvaluationManifest, read_manifest
from tersely.core.types import Message, SamplingSpec
from tersely.engines.models import lab_folder, load_tokenizer
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.observer import QUIET
from tersely.metrics.budgets import Protocol

# Opens the thinking unless it is told not to, and writes a level where one is given.
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}<user>{{ m.content }}"
    "{% else %}<user>{{ m.content }}{% if level %}{{ level }}{% endif %}{% endif %}{% endfor %}"
    "<assistant>{% if enable_thinking | default(true) %}<think>{% endif %}"
)


@pytest.fixture
def model(tmp_path):
    made = shutil.copytree(lab_folder(), tmp_path / "model")
    (made / "chat_template.jinja").write_text(TEMPLATE)
    return made


@pytest.fixture
def problems(tmp_path):
    file = tmp_path / "local.jsonl"
    rows = [{"id": f"p{n}", "prompt": f"{n}+4=", "answer": str(n + 4)} for n in (1, 2)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def local(model, problems, out, **settings):
    return Plan(
        model=str(model),
        benchmark=str(problems),
        out=out,
        spec=SamplingSpec(samples=2, cap_tokens=12, seed=0),
        budgets=(6, 12),
        protocol=Protocol.FORCED,
        allowance_tokens=4,
        **settings,
    )


def prompts(model, out):
    tokenizer = load_tokenizer(str(model))
    tokens = read(out / "tokens.jsonl", TokenRecord)
    return {tokenizer.decode(t.prompt_ids).replace(" ", "") for t in tokens}, {
        t.thinking_open for t in tokens
    }


def test_settings_and_system_prompt_reach_prompts_and_whether_they_open_the_thinking(
    model, problems, tmp_path
):
    run_evaluation(local(model, problems, tmp_path / "plain"), observer=QUIET)
    written, opened = prompts(model, tmp_path / "plain")
    assert written == {f"<user>{n}+4=<assistant><think>" for n in (1, 2)}
    assert opened == {True}
    given = local(
        model,
        problems,
        tmp_path / "given",
        chat_template_kwargs={"enable_thinking": False, "level": ":"},
        system_prompt="7",
    )
    run_evaluation(given, observer=QUIET)
    written, opened = prompts(model, tmp_path / "given")
    assert written == {f"<user>7<user>{n}+4=:<assistant>" for n in (1, 2)}
    assert opened == {False}
    there = read_manifest(tmp_path / "given", EvaluationManifest)
    assert there.chat_template_kwargs == '{"enable_thinking": false, "level": ":"}'
    assert there.system_prompt == "7"
    plain = read_manifest(tmp_path / "plain", EvaluationManifest)
    # The same problems: only what is put around them differs.
    assert there.benchmark_digest == plain.benchmark_digest
    assert there.files.prompts_digest != plain.files.prompts_digest


@pytest.mark.parametrize(
    "change", [{"chat_template_kwargs": {"level": ":"}}, {"system_prompt": "7"}]
)
def test_a_folder_is_not_gone_on_with_under_others(model, problems, tmp_path, change):
    run_evaluation(local(model, problems, tmp_path / "e"), observer=QUIET)
    with pytest.raises(ConfigError, match=r"cannot resume .*(chat template kwargs|system prompt)"):
        run_evaluation(local(model, problems, tmp_path / "e", **change), observer=QUIET)


def test_a_name_that_the_template_never_mentions_is_a_warning(model, problems, tmp_path):
    wrong = local(model, problems, tmp_path / "e", chat_template_kwargs={"enable_thinkin": False})
    said = "never mentions enable_thinkin, so it changes nothing; did you mean enable_thinking"
    with pytest.warns(TerselyWarning, match=said):
        run_evaluation(wrong, observer=QUIET)


def test_what_cannot_be_given_is_refused_before_anything_is_written(model, problems, tmp_path):
    plain = local(model, problems, tmp_path / "e")
    with pytest.raises(ConfigError, match="add_generation_prompt is set by whoever samples"):
        run_evaluation(
            replace(plain, chat_template_kwargs={"add_generation_prompt": False}), observer=QUIET
        )
    with pytest.raises(ConfigError, match="--system-prompt is empty"):
        run_evaluation(replace(plain, system_prompt=" "), observer=QUIET)
    chat = [
        {"role": "system", "content": "3"},
        {"role": "user", "content": "1+4="},
    ]
    problems.write_text(json.dumps({"id": "own", "prompt": chat, "answer": "5"}) + "\n")
    with pytest.raises(ConfigError, match="problem 'own' has a system message of its own"):
        run_evaluation(replace(plain, system_prompt="7"), observer=QUIET)
    (model / "chat_template.jinja").write_text("{{ raise_exception('no effort') }}")
    with pytest.raises(ConfigError, match=r"the chat template fails .*no effort"):
        run_evaluation(plain, observer=QUIET)
    assert not (tmp_path / "e").exists() or not any((tmp_path / "e").iterdir())


def test_a_server_gets_both_and_extra_body_may_not_say_it_too(server, benchmark, tmp_path):
    server.answer = answers("It is #, seed @.")
    given = replace(
        plan(server, benchmark, tmp_path / "e", samples=1),
        chat_template_kwargs={"enable_thinking": False},
        system_prompt="Be brief.",
    )
    run_evaluation(given, observer=QUIET)
    sent = [json.loads(body) if isinstance(body, str | bytes) else body for body in server.bodies]
    assert sent
    for body in sent:
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    twice = replace(given.endpoint, extra_body={"chat_template_kwargs": {"enable_thinking": True}})
    with pytest.raises(ConfigError, match="--extra-body has chat_template_kwargs too"):
        run_evaluation(replace(given, endpoint=twice, out=tmp_path / "f"), observer=QUIET)


def test_a_system_message_is_put_before_worked_examples(problems):
    from tersely.tasks.problems import read_problems, with_system

    (one, _) = read_problems(problems)
    examples = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    (asked,) = with_system([replace(one, earlier=examples)], "s", where="--system-prompt")
    assert [m["role"] for m in asked.chat] == ["system", "user", "assistant", "user"]
