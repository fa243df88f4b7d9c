"""The page of a run that goes on: served on loopback, drawn anew, and run in a browser."""

import shutil
import threading
import urllib.error
import urllib.request

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.report.pages.serve import LivePage, make_server


@pytest.fixture
def served(run_folder, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    server = make_server(folder, port=0, refresh_s=7.0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def get(url):
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read().decode()


def test_the_page_refreshes_itself_and_grows_with_the_run(served):
    folder, url = served
    text = get(f"{url}/")
    assert '<meta http-equiv="refresh" content="7">' in text
    assert "Accuracy at token budgets" in text
    with (folder / "steps.jsonl").open("rb") as lines:
        last = lines.readlines()[-1]
    assert get(f"{url}/") == text
    with (folder / "steps.jsonl").open("ab") as lines:
        lines.write(last.replace(b'"step":', b'"step":9'))
    assert get(f"{url}/") != text


def test_a_run_before_its_second_evaluation_is_waited_for(served):
    folder, url = served
    for file in sorted((folder / "eval").glob("*.jsonl"))[1:]:
        file.unlink()
    text = get(f"{url}/")
    assert "steps so far" in text
    assert 'http-equiv="refresh"' in text


def test_nothing_else_is_served(served):
    _, url = served
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        get(f"{url}/manifest.json")
    caught.value.close()


def test_a_browser_draws_the_served_page(served, browse, tmp_path):
    _, url = served
    page = tmp_path / "served.html"
    page.write_text(get(f"{url}/").replace('content="7"', 'content="9999"'), encoding="utf-8")
    dom = browse(
        page, "document.title = 'charts ' + document.querySelectorAll('svg, canvas').length;"
    )
    assert "<title>charts 0" not in dom
    assert "<title>charts " in dom


def test_bad_input_is_refused(tmp_path, run_folder):
    for words, message in [
        ((str(tmp_path),), "is no run folder"),
        ((str(run_folder), "--refresh-s", "0.2"), "--refresh-s 0.2 is below 1"),
    ]:
        done = CliRunner().invoke(app, ["watch", *words])
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())


def test_a_log_of_another_tool_is_served_as_its_diagnosis_and_grows(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("step,tokens_mean\n" + "".join(f"{s},{90 - s}\n" for s in range(20)))
    page = LivePage(log, refresh_s=5.0)
    assert "Diagnosis of log.csv" in page.text()
    assert "20 records, the last of step 19." in page.text()
    with log.open("a") as lines:
        lines.write("20,70\n")
    assert "21 records, the last of step 20." in page.text()
