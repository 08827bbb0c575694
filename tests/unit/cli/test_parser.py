"""The error for an unknown command names the nearest one."""

from __future__ import annotations

import pytest

from zae_engine.cli.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["docter"], "doctor"),
        (["Doctor"], "doctor"),
        (["exmaple"], "example"),
        (["legacy", "instal"], "install"),
        (["legacy", "stats"], "status"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_nearest(arguments, nearest, capsys):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    shown = capsys.readouterr().err
    assert f"invalid choice: '{arguments[-1]}'" in shown
    assert shown.endswith(f": did you mean {nearest}?\n")


def test_a_name_like_no_command_gets_the_list_alone(capsys):
    with pytest.raises(SystemExit):
        main(["xyz"])
    shown = capsys.readouterr().err
    assert "doctor" in shown
    assert "did you mean" not in shown


def test_an_unknown_option_is_argparse_s_error(capsys):
    with pytest.raises(SystemExit):
        main(["hello", "--loud"])
    assert "unrecognized arguments: --loud" in capsys.readouterr().err
