from tersely.metrics.budgets import MEANING, Protocol
from tersely.report.tables.words import DEFINITIONS, define, describe_protocol, label


def test_every_measure_on_a_page_is_defined(measured):
    for m in measured.overall.measures:
        assert any(m.name.startswith(stem) for stem in DEFINITIONS), m.name


def test_only_the_measures_shown_are_defined_and_once_each():
    words = define(["pass@1", "pass@8", "accuracy", "accuracy", "g-pass@8 (0.5)"])
    assert list(words) == ["Accuracy", "Pass@k", "G-Pass@k"]


def test_labels_are_headings_with_their_budget():
    assert label("pass@8", 2048) == "Pass@8 within 2,048 tokens"
    assert label("g-pass@8 (0.5)") == "G-Pass@8 τ=.5"
    assert label("AUC-OAA") == "AUC-OAA"


def test_each_protocol_is_described_by_its_meaning():
    for protocol in Protocol:
        assert describe_protocol(protocol) == f"Protocol {protocol.value}: {MEANING[protocol]}."
