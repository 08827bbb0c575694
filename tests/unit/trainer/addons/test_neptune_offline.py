"""Reading offline runs of Neptune, whole and broken."""

from __future__ import annotations

import json

import pytest

from zae_engine.trainer.addons import read_offline_run


def line(kind, path, version=1, **rest):
    return json.dumps({"obj": {"type": kind, "path": path, **rest}, "version": version, "at": 0.0})


def floats(*values):
    return [{"value": value, "step": i, "ts": 1.5} for i, value in enumerate(values)]


def write(folder, name, *lines, end="\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + end)


def test_series_values_and_clearing_over_several_files(tmp_path):
    run = tmp_path / "offline" / "run__1"
    write(run, "data-1.log", line("LogFloats", ["a"], values=floats(1.0)), line("AssignString", ["p", "q"], value="x"))
    write(
        run, "data-10.log", line("LogStrings", ["s"], values=floats("w")), line("AssignString", ["p", "q"], value="y")
    )
    write(run, "data-2.log", line("LogFloats", ["a"], values=floats(2.0, 3.0)), line("ClearFloatLog", ["b"]))
    read = read_offline_run(tmp_path)
    assert [point.value for point in read["a"]] == [1.0, 2.0, 3.0]
    assert (read["a"][0].step, read["a"][0].time, read["s"][0].value) == (0, 1.5, "w")
    assert read.values_set == {"p/q": "y"}


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    whole = line("LogFloats", ["a"], values=floats(1.0))
    write(tmp_path, "data-1.log", whole, whole[: len(whole) // 2], end="")
    assert len(read_offline_run(tmp_path)["a"]) == 1


def test_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no offline run of Neptune"):
        read_offline_run(tmp_path)
    write(tmp_path / "one", "data-1.log", "no json", line("ClearFloatLog", ["a"]))
    with pytest.raises(ValueError, match=r"Line 1 of .*one.data-1.log is no record.*no json"):
        read_offline_run(tmp_path)
    write(tmp_path / "two", "data-1.log", line("ClearFloatLog", ["a"]))
    with pytest.raises(ValueError, match="holds 2 runs; name one"):
        read_offline_run(tmp_path)
