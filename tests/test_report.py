"""The committed documents are what the report writes; test_evidence.py computes their numbers a second time."""

import shutil

import pytest
from conftest import REPOSITORY

from research.report import DOCUMENTS, with_tables, write_report
from research.tables import all_tables


def test_only_what_is_between_the_markers_is_replaced():
    document = (
        "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- numbers: y -->\nkept\n<!-- /numbers -->\n<!-- z -->\n<!-- /z -->"
    )
    replaced = with_tables(document, {"x": r"new \1", "w": "nowhere"})
    assert replaced == document.replace("old", r"new \1")
    assert "<!-- z -->\nfirst\n<!-- /z -->" in with_tables(document, {"z": "first"})
    for broken in (document.replace("<!-- /x -->", ""), document + document):
        with pytest.raises(ValueError, match="<!-- x --> must stand at most once, and be closed with <!-- /x -->"):
            with_tables(broken, {"x": "new"})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The documents, and the results behind them."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(REPOSITORY / "results", home / "results", ignore=shutil.ignore_patterns("figures"))
    (home / "docs").mkdir()
    for name in DOCUMENTS:
        shutil.copy(REPOSITORY / name, home / name)
    return home


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_committed_documents_are_what_the_report_writes_and_show_every_table(home):
    write_report(home / "results", home)
    texts = {name: (home / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    assert texts == {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    assert not [name for name in all_tables(home / "results") if f"<!-- {name} -->" not in "".join(texts.values())]
    figures = {path.name for path in (home / "results/figures").iterdir()}
    assert {"schedules.png", "actors.png", "adaptation.png"} <= figures


@pytest.mark.parametrize("missing", ["robustness.csv", "predictions/any8-emodb.csv"])
def test_a_missing_result_is_named_before_anything_is_written(home, missing):
    (home / "results" / missing).rename(home / "kept.csv")
    before = {name: (home / name).read_bytes() for name in DOCUMENTS}
    with pytest.raises(FileNotFoundError, match=missing.split("/")[-1].removesuffix(".csv")):
        write_report(home / "results", home)
    assert {name: (home / name).read_bytes() for name in DOCUMENTS} == before
    (home / "kept.csv").rename(home / "results" / missing)
