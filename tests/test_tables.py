"Tables come back as they were written, and a failed write leaves what was there."

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.tables import read_settings, read_table, write_table, write_whole

text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)


cells = text | st.floats(allow_nan=False, width=16) | st.integers(-999, 999)


@given(st.lists(st.dictionaries(text, cells), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_tables_come_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    if not any(rows):
        return
    path = write_table(rows, folder / "sub" / "table.csv", {"seed": 0})
    back = read_table(path)
    for row, same in zip(rows, back, strict=True):
        for name, value in same.items():
            if name not in row:
                assert value == ""
            elif isinstance(row[name], str):
                assert value == row[name]
            else:
                assert value == pytest.approx(row[name], rel=1e-5)
    assert json.loads(path.with_suffix(".json").read_text()) == {"seed": 0}
    assert {file.name for file in path.parent.iterdir()} == {"table.csv", "table.json"}


def test_table_keeps_what_is_text_and_what_is_not(tmp_path):
    rows = [{"name": "01", "snr": 10, "score": -math.inf}, {"name": 'a, "b"', "note": "só"}]
    back = read_table(write_table(rows, tmp_path / "t.csv", {}))
    assert back[0] == {"name": "01", "snr": 10.0, "score": -math.inf, "note": ""}
    assert back[1] == {"name": 'a, "b"', "snr": "", "score": "", "note": "só"}
    with pytest.raises(ValueError, match="no rows"):
        write_table([], tmp_path / "none.csv", {})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_whole(tmp_path / "a.txt", b"old")
    with pytest.raises(TypeError):
        write_whole(path, "text is not bytes")
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_settings_come_back_as_they_were(tmp_path):
    settings = {"seed": 0, "noises": ["Regen", "vent à l'est"], "ratio": 0.5}
    assert read_settings(write_table([{"a": 1}], tmp_path / "t.csv", settings)) == settings
