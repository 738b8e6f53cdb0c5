"""``tags_from``: spreadsheets as engineers save them."""

import pytest

from tests.support.configs import HEAD, loaded, problems, write

FROM_CSV = (
    HEAD
    + """\
devices:
  - id: plc
    driver: modbus
    link: {kind: tcp, host: 10.0.0.5}
    tags:
      - {id: first, table: coil, address: 0, type: bool}
    tags_from: tags.csv
"""
)

TABLE = """\
id,name,table,address,type,scale,unit,range,kind,report_change
T1.level,1号罐液位,holding,0,float32,,m,0..12,level,0.5%
T1.temp,1号罐温度,holding,40012,int16,0.1,degC,-40..120,temperature,0.05
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_table_reads_the_same_in_any_dress(tmp_path, encoding, delimiter, line_end):
    write(tmp_path, TABLE.replace(",", delimiter).replace("\n", line_end).encode(encoding), "tags.csv")
    result = loaded(tmp_path, FROM_CSV)
    first, level, temp = result.config.devices[0].tags
    assert (first.id, level.name, temp.name) == ("first", "1号罐液位", "1号罐温度")
    assert (level.range, level.address, level.scale) == ((0, 12), 0, 1)
    assert (temp.range, temp.address, temp.scale) == ((-40, 120), 11, 0.1)
    assert [tag.report_change for tag in result.tags] == [None, pytest.approx(0.06), 0.05]
    assert [path.name for path in result.files] == ["davy.yaml", "tags.csv"]
    assert str(result.sources["tags:T1.temp"]).endswith("tags.csv:3")


def test_a_wrong_cell_is_named_by_line_and_column(tmp_path):
    write(tmp_path, TABLE.replace("int16", "int17").replace("0..12", "12..0"), "tags.csv")
    found = problems(tmp_path, FROM_CSV)
    assert [(each.at.line, each.at.column, each.path) for each in found] == [
        (2, 8, "devices[0].tags[1].range"),
        (3, 5, "devices[0].tags[2].type"),
    ]
    assert found[1].to_text().startswith(f"{tmp_path}/tags.csv:3:5: ")


def test_an_unknown_column_is_an_error_with_the_nearest(tmp_path):
    write(tmp_path, TABLE.replace("adress", "x").replace("address", "adress"), "tags.csv")
    found = problems(tmp_path, FROM_CSV)
    assert (found[0].at.line, found[0].at.column, found[0].suggestion) == (1, 4, "address")


def test_a_column_given_twice_and_a_cell_too_many_are_errors(tmp_path):
    write(tmp_path, "id,id,table,address,type\na,b,coil,0,bool,extra\n", "tags.csv")
    assert [each.text.en for each in problems(tmp_path, FROM_CSV)] == ["column given twice", "more cells than columns"]


def test_a_pair_that_is_none_says_how_to_write_one(tmp_path):
    write(tmp_path, TABLE.replace("-40..120", "-40 to 120"), "tags.csv")
    (found,) = problems(tmp_path, FROM_CSV)
    assert (found.at.line, found.at.column, found.allowed.en) == (3, 8, "0..12")


def test_empty_cells_short_rows_and_blank_lines_are_left_out(tmp_path):
    write(tmp_path, "id,table,address,type,unit\n\na,coil,1,bool\nb,holding,2,int16,\n,,,,\n", "tags.csv")
    assert [tag.id for tag in loaded(tmp_path, FROM_CSV).tags] == ["first", "a", "b"]


def test_ids_of_digits_stay_text(tmp_path):
    write(tmp_path, "id,table,address,type\n1001,coil,1,bool\n", "tags.csv")
    assert loaded(tmp_path, FROM_CSV).tags[1].id == "1001"


def test_an_id_twice_over_yaml_and_csv_is_found(tmp_path):
    write(tmp_path, "id,table,address,type\nfirst,coil,1,bool\n", "tags.csv")
    assert any(each.at.line == 2 and "twice" in each.text.en for each in problems(tmp_path, FROM_CSV))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        ("id,table".encode("utf-16"), "UTF-16"),
        (b"id,name\n\xff\xff,\x81", "neither UTF-8 nor GB 18030"),
        (b'id,table\n"open,coil\n', "CSV"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, why):
    write(tmp_path, content, "tags.csv")
    assert any(why in each.text.en for each in problems(tmp_path, FROM_CSV))


def test_a_table_that_is_missing_is_named(tmp_path):
    (found,) = problems(tmp_path, FROM_CSV)
    assert found.at.file.endswith("tags.csv")
    assert "No such file" in found.text.en
