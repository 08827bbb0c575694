"""Neptune fields: a free path for each key, in a run that has fields already."""

from __future__ import annotations

import warnings

import neptune
import pytest
from zae_lightning.loggers.neptune_fields import FieldPaths


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = neptune.init_run(project="w/p", mode="offline", capture_hardware_metrics=False)
    yield run
    run.stop()


def test_a_free_path_is_the_key_and_costs_no_warning(run):
    paths = FieldPaths(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for key in ("loss", "train/loss", "train/acc"):
            assert paths.path(key, "FloatSeries") == key
            run[key].append(1.0)
            assert paths.path(key, "FloatSeries") == key


def test_fields_of_somebody_else_and_of_earlier_sessions_count(run):
    run["mine/a"].append(1.0)
    run["text"] = "words"
    paths = FieldPaths(run)
    assert paths.path("mine/a", "FloatSeries") == "mine/a"
    with pytest.warns(UserWarning, match="'mine' beside 'mine/a'; its values are logged under 'mine_'"):
        assert paths.path("mine", "FloatSeries") == "mine_"
    with pytest.warns(UserWarning, match="'mine/a/x/y' beside 'mine/a'; .* 'mine/a_/x/y'"):
        assert paths.path("mine/a/x/y", "FloatSeries") == "mine/a_/x/y"
    with pytest.warns(UserWarning, match=r"beside the field 'text', which holds .* another type \(String\)"):
        assert paths.path("text", "FloatSeries") == "text_"


def test_a_renamed_key_has_the_same_path_in_the_next_session(run):
    for _ in range(2):
        run["a"].append(1.0)
        with pytest.warns(UserWarning, match="beside 'a'"):
            path = FieldPaths(run).path("a/b", "FloatSeries")
        assert path == "a_/b"
        run[path].append(1.0)


def test_two_spellings_of_a_path_are_two_fields(run):
    paths = FieldPaths(run)
    assert paths.path("a/b", "FloatSeries") == "a/b"
    with pytest.warns(UserWarning, match="'a//b' beside 'a/b', which has the same path"):
        assert paths.path("a//b", "FloatSeries") == "a/b_"
    assert paths.path("", "FloatSeries") == "_"


@pytest.mark.parametrize(("value", "field_type"), [(True, "Boolean"), (1, "Integer"), (1.0, "Float"), ("a", "String")])
def test_the_classes_of_fields_have_the_names_that_the_logger_uses(run, value, field_type):
    run["value"] = value
    assert type(run.get_attribute("value")).__name__ == field_type


def test_the_classes_of_series_have_the_names_that_the_logger_uses(run):
    run["numbers"].append(1.0)
    run["texts"].append("a")
    assert type(run.get_attribute("numbers")).__name__ == "FloatSeries"
    assert type(run.get_attribute("texts")).__name__ == "StringSeries"
