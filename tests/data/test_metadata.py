"""Bad images and bad tables: each with what it must give, the right image or the right error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesions.data.metadata import Columns, read_metadata
from lesions.data.stored_form import prepare
from lesions.faults import Faults, InputError
from lesions.images import BadImage, decode, find_images

RED, BLUE = (200, 30, 40), (20, 40, 190)


def halves(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def sixteen_bits(gray: bool, used: int = 16, form: str = "PNG") -> bytes:
    """Red and blue, or two shades, of which each level has `used` bits."""
    scale = 257 >> (16 - used)
    ramp = np.zeros((40, 60), np.uint16)
    ramp[:, :30] = 200 * scale
    if gray:
        return saved(Image.fromarray(ramp), form)
    row = b"".join(struct.pack(">3H", *(scale * value for value in color)) * 30 for color in (RED, BLUE))
    rows = (b"\0" + row) * 40
    chunks = [(b"IHDR", struct.pack(">2I5B", 60, 40, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: as stored, blue is on the left
    return saved(halves().rotate(180), "JPEG", exif=exif, quality=95)


def with_alpha() -> bytes:
    image = halves("RGBA")
    image.putalpha(128)
    return saved(image, "PNG")


GOOD = {
    "plain.jpg": saved(halves(), "JPEG", quality=95),
    "upper case.JPG": saved(halves(), "JPEG", quality=95),
    "läsion größe.png": saved(halves(), "PNG"),
    "cmyk.jpg": saved(halves("CMYK"), "JPEG", quality=95),
    "palette.png": saved(halves().quantize(4), "PNG"),
    "alpha.png": with_alpha(),
    "sixteen bits.png": sixteen_bits(gray=False),
    "exif turned.jpg": turned(),
    "animated.png": saved(halves(), "PNG", save_all=True, append_images=[Image.new("RGB", (60, 40), "green")]),
    "progressive.jpeg": saved(halves(), "JPEG", quality=95, progressive=True),
    "really a gif.jpg": saved(halves(), "GIF"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_right_image(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GOOD[name])
    assert list(find_images(tmp_path, Faults())) == [Path(name).stem]
    image = decode(prepare(tmp_path / name, 256).content)
    assert (image.mode, image.size) == ("RGB", (60, 40))
    for place, color in (((10, 20), RED), ((50, 20), BLUE)):
        assert np.abs(np.subtract(image.getpixel(place), color)).max() < 12


@pytest.mark.parametrize("content", [saved(halves("L"), "JPEG"), sixteen_bits(gray=True)], ids=["8 bits", "16 bits"])
def test_gray_keeps_its_shades(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "gray.png").write_bytes(content)
    image = decode(prepare(tmp_path / "gray.png", 256).content)
    left, right = image.getpixel((10, 20)), image.getpixel((50, 20))
    assert image.mode == "RGB" and 40 < left[0] < 240 and abs(left[0] - right[0]) > 20
    assert max(left) - min(left) < 4


BAD = {
    "zero bytes": b"",
    "text": b"<html>404 Not Found</html>",
    "truncated jpeg": GOOD["plain.jpg"][:-200],
    "truncated png": GOOD["läsion größe.png"][:-60],
    "header only": GOOD["plain.jpg"][:20],
    "damaged png": GOOD["palette.png"].replace(b"IDAT", b"IDAX"),
    "gray of 32 bits": saved(Image.fromarray(np.full((40, 60), 0.5, np.float32)), "TIFF"),
    "whole gray of 32 bits": saved(Image.fromarray(np.full((40, 60), -1, np.int32)), "TIFF"),
    **{f"gray of {bits} bits in 16": sixteen_bits(gray=True, used=bits) for bits in (8, 10, 12, 14)},
    "gray of 12 bits in 16, TIFF": sixteen_bits(gray=True, used=12, form="TIFF"),
    "color of 12 bits in 16": sixteen_bits(gray=False, used=12),
    "decompression bomb": saved(Image.new("1", (20_000, 20_000)), "PNG"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_right_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(BAD[name])
    with pytest.raises(BadImage, match=r"of its 16 bits.* save it with 8 bits" if "in 16" in name else None) as caught:
        prepare(tmp_path / "bad.jpg", 256)
    assert str(caught.value) and str(tmp_path) not in str(caught.value)


HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
ROW = "HAM_1,ISIC_1,nv,histo,45.0,male,back\n"
GOOD_TABLES = {
    "plain": (HEADER + ROW).encode(),
    "byte order mark": b"\xef\xbb\xbf" + (HEADER + ROW).encode(),
    "CRLF": (HEADER + ROW).replace("\n", "\r\n").encode(),
    "extra columns": b"dataset,"
    + HEADER.replace("\n", ",note\n").encode()
    + b"vidir,"
    + ROW.replace("\n", ",x\n").encode(),
    "quoted commas": (HEADER + ROW.replace("back", '"back, upper"')).encode(),
    "spaces": (HEADER.replace(",", " , ") + ROW.replace(",", " , ")).encode(),
    "file names": (HEADER + ROW.replace("ISIC_1", "ISIC_1.JPG")).encode(),
    "tabs": (HEADER + ROW).replace(",", "\t").encode(),
    "other order": b"age,dx,image_id,lesion_id,localization,sex,dx_type\n45,nv,ISIC_1,HAM_1,back,male,histo\n",
    "semicolons": (HEADER + ROW).replace(",", ";").encode(),
    "blanks around ids": (HEADER + ROW.replace("ISIC_1", " ISIC_1.Jpeg\u00a0")).encode(),
    "paths": (HEADER + ROW.replace("ISIC_1", ".\\images\\ISIC_1.png")).encode(),
    "blank columns": (HEADER.replace("\n", ",,\n") + ROW.replace("\n", ",,\n")).encode(),
    "Mac line ends": (HEADER + ROW).replace("\n", "\r").encode(),
    "no last line end": (HEADER + ROW).rstrip().encode(),
}


def read_checked(path: Path) -> pd.DataFrame:
    faults = Faults()
    table = read_metadata(path, faults)
    faults.raise_if_any("correct these")
    return table


@pytest.mark.parametrize("name", GOOD_TABLES)
def test_the_right_table(name: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(GOOD_TABLES[name])
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    row = read_checked(tmp_path / "table.csv")[columns].iloc[0].to_dict()
    assert row.pop("localization") == ("back, upper" if name == "quoted commas" else "back")
    assert row == {"lesion_id": "HAM_1", "image_id": "ISIC_1", "dx": "nv", "dx_type": "histo", "age": 45, "sex": "male"}


BAD_TABLES = {
    "latin-1": ((HEADER + ROW.replace("back", "Rücken")).encode("latin-1"), "can't be read as CSV in UTF-8"),
    "UTF-16": ((HEADER + ROW).encode("utf-16"), "can't be read as CSV in UTF-8"),
    "empty": (b"", "is empty"),
    "no row": (HEADER.encode(), "holds no row"),
    "a row too long": (
        (HEADER + ROW + ROW.replace("\n", ",,,\n")).encode(),
        "table.csv that has not 7 cells, as its header has, in line (1):\n  3: 10",
    ),
    "rows too short": ((HEADER + ROW + "\n,,\nHAM_2,ISIC_2,nv,histo\n").encode(), "in line (1):\n  5: 4\n"),
    "a quote never closed": (
        (HEADER + ROW + ROW.replace("back", '"back')).encode(),
        "begins in line 3 has a quote too few",
    ),
    "missing columns": (b"image_id,dx\nISIC_1,nv\n", "lacks the columns lesion_id, dx_type, sex, localization, age"),
    "duplicate rows": ((HEADER + ROW + ROW).encode(), "image_id appears more than once (1):\n  ISIC_1"),
    "age as text": (
        (HEADER + ROW.replace("45.0", "forty")).encode(),
        "age is not a number of years (1):\n  ISIC_1: 'forty'",
    ),
    "age too high": ((HEADER + ROW.replace("45.0", "450")).encode(), "ISIC_1: '450'"),
    "lesion id missing": ((HEADER + ROW.replace("HAM_1", "")).encode(), "lesion_id is empty, in line (1):\n  2"),
    "diagnosis missing": ((HEADER + ROW.replace("nv", "")).encode(), "dx is empty, in line (1):\n  2"),
    "diagnosis unknown": ((HEADER + ROW.replace("nv", "NV")).encode(), "ISIC_1: 'NV'"),
    "two diagnoses": ((HEADER + ROW + ROW.replace("nv", "mel").replace("ISIC_1", "ISIC_2")).encode(), "HAM_1: mel, nv"),
    "a column twice": ((HEADER.replace("sex", " dx") + ROW).encode(), "has the column dx twice"),
    "a column of one name twice": ((HEADER.replace("sex", "dx") + ROW).encode(), "has the column dx twice"),
    "every row too long": ((HEADER + ROW.replace("\n", ",\n")).encode(), "in line (1):\n  2: 8\n"),
    "no lesion id": ((HEADER + ROW.replace("HAM_1", "NA")).encode(), "lesion_id is empty, in line (1):\n  2"),
    "not a table": (b"\x89PNG\r\n\x1a\n\0\0", "can't be read as CSV in UTF-8"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_the_right_fault(name: str, tmp_path: Path) -> None:
    content, expected = BAD_TABLES[name]
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_checked(tmp_path / "table.csv")
    assert expected in str(caught.value)


def test_a_quote_that_is_not_closed_never_swallows_rows(tmp_path: Path) -> None:
    rows = [ROW.replace("_1", f"_{number}") for number in range(5)]
    rows[1], rows[3] = (rows[number].replace("back", '"back') for number in (1, 3))
    (tmp_path / "table.csv").write_text(HEADER + "".join(rows))
    with pytest.raises(InputError, match=r"table\.csv: the row that begins in line 3 has a quote too few or too many"):
        read_checked(tmp_path / "table.csv")
    rows[3] = rows[3].replace('"back', 'back"')
    (tmp_path / "table.csv").write_text(HEADER + "".join(rows))
    with pytest.raises(InputError, match=r"localization of several lines in table\.csv: .* in line \(1\):\n  3"):
        read_checked(tmp_path / "table.csv")


def test_one_diagnosis_in_two_spellings_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one diagnosis in several spellings \(1\):\n  'Nevus', 'nevus'"):
        read_joined(tmp_path, "image,dx\na,Nevus\nb,nevus\nc,melanoma\n")


def test_a_table_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match=r"pipe\.csv is not a file"):
        read_metadata(tmp_path / "pipe.csv", Faults())


def test_accents_meet_however_a_system_writes_them(tmp_path: Path) -> None:
    (tmp_path / "la\u0308sion.jpg").write_bytes(GOOD["plain.jpg"])
    assert list(find_images(tmp_path, Faults(), {"l\u00e4sion"})) == ["l\u00e4sion"]


def test_another_data_set_joins_its_tables_and_brings_its_own_diagnoses(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("image,MEL,SCC,UNK\na,1.0,0.0,0.0\nb,0.0,1.0,0.0\nc,0.0,1.0,0.0\n")
    (tmp_path / "more.csv").write_text(
        "image,age_approx,anatom_site_general,lesion_id,sex\nb,30,,L1,female\na,,back,,\n"
    )
    faults = Faults()
    table = read_metadata([tmp_path / "truth.csv", tmp_path / "more.csv"], faults, Columns(image="image"), classes=None)
    faults.raise_if_any("none")
    assert table["dx"].tolist() == ["mel", "scc", "scc"]
    assert table["lesion_id"].tolist() == ["a", "L1", "c"]  # a lesion of its own where none is stated
    assert table["age"].fillna(-1).tolist() == [-1, 30, -1]
    assert table["localization"].tolist() == ["back", "unknown", "unknown"]


def test_a_row_without_exactly_one_mark_is_named(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("image,MEL,NV,AGE\na,1,1,50\nb,0,0,50\nc,0,1,1\nd,2,1,50\ne,1,,50\nf,1,0,50\n")
    faults = Faults()
    read_metadata(tmp_path / "truth.csv", faults, Columns(image="image"), classes=None)
    assert faults.by_kind == {
        "one-hot cell of truth.csv that is not 0 or 1, or one of several 1s, in line": [
            "2: MEL '1', NV '1'",
            "5: MEL '2'",
            "6: NV ''",
        ],
        "dx is empty, in line": ["2", "3", "5", "6"],
    }


def test_marks_may_be_true_and_false_where_no_column_has_numbers(tmp_path: Path) -> None:
    truth = pd.get_dummies(pd.Series(["MEL", "NV", "NV"]))
    truth.insert(0, "image", ["a", "b", "c"])
    table = read_joined(tmp_path, truth.to_csv(index=False))
    assert table["dx"].tolist() == ["mel", "nv", "nv"]
    numbers = truth.astype({"MEL": int, "NV": int}).assign(BIOPSY=True)
    assert read_joined(tmp_path, numbers.to_csv(index=False))["dx"].tolist() == ["mel", "nv", "nv"]


def read_joined(folder: Path, *tables: str, columns: Columns | None = None) -> pd.DataFrame:
    """What the tables say together, by image_id."""
    paths = [folder / f"{number}.csv" for number in range(len(tables))]
    for path, text in zip(paths, tables, strict=True):
        path.write_text(text)
    faults = Faults()
    table = read_metadata(paths, faults, columns, classes=None)
    faults.raise_if_any("correct these")
    return table.set_index("image_id")


LESIONS = "image_id,lesion_id\n" + "".join(f"a{number},L{number // 2}\n" for number in range(6))


@pytest.mark.parametrize("form", ["a{}.jpg", "a{}.JPG", " a{} ", "x/a{}.png", "x\\a{}.jpeg", "./a{}"])
def test_ids_meet_however_tables_write_them(form: str, tmp_path: Path) -> None:
    labels = "image,dx\n" + "".join(f"{form if n % 2 else 'a{}'},nv\n".format(n) for n in range(6))
    table = read_joined(tmp_path, labels, LESIONS)
    assert table["lesion_id"].to_dict() == {f"a{number}": f"L{number // 2}" for number in range(6)}


def test_ids_that_do_not_meet_are_shown_in_both_forms(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image and no lesion in common .* 'a0', 'a1', 'a2' against '0.0', '1.0'"):
        read_joined(tmp_path, "image,dx\n0.0,nv\n1.0,nv\n", LESIONS)
    with pytest.raises(InputError, match=r"image_id of 0.csv that 1.csv lacks; it has .*'a1'.* \(1\):\n  A1"):
        read_joined(tmp_path, "image,dx\na0,nv\nA1,nv\n", LESIONS)


def test_ids_that_pandas_wrote_as_numbers_with_a_point_are_whole(tmp_path: Path) -> None:
    table = read_joined(
        tmp_path,
        "image,dx,lesion_id,skin_tone_class\na,nv,7.0,2.0\nb,nv,7,2\nc,nv,1.0.0.5,\n",
        "lesion_id,sex\n7,male\n1.0.0.5,x\n",
    )
    assert table["skin_tone"].tolist() == ["2", "2", "unknown"]
    assert table["lesion_id"].tolist() == ["7", "7", "1.0.0.5"] and table["sex"].tolist() == ["male", "male", "x"]


def test_patients_stay_together_where_no_lesion_is_known(tmp_path: Path) -> None:
    table = read_joined(tmp_path, "image,patient_id,dx\na,P1,nv\nb,P1,mel\nc,,nv\n")
    assert table["patient_id"].tolist() == ["P1", "P1", "c"]
    lesions = "image,patient_id,lesion_id,dx\na,P1,L1,nv\nb,P1,L2,mel\n"  # where they are, --group_column decides
    assert read_joined(tmp_path, lesions)["patient_id"].tolist() == ["L1", "L2"]


def test_patients_stay_together_where_some_lesions_are_not_known(tmp_path: Path) -> None:
    table = read_joined(tmp_path, "image,patient_id,lesion_id,dx\na,P1,L1,mel\nb,P1,,nv\nc,P2,,nv\nd,,L2,nv\ne,,,nv\n")
    assert table["patient_id"].tolist() == ["P1", "P1", "P2", "L2", "e"]
    assert table["lesion_id"].tolist() == ["L1", "P1", "P2", "L2", "e"]


@pytest.mark.parametrize("row", ["7,,,nv", "x,7,,nv"])
def test_a_lesion_is_never_taken_for_an_image_or_patient_of_its_name(row: str, tmp_path: Path) -> None:
    text = f"image,patient_id,lesion_id,dx\na,,7,mel\nb,,8,nv\n{row}\n"
    with pytest.raises(InputError, match=rf"of unknown lesion and another diagnosis: rename one \(1\):\n  {row[0]}: 7"):
        read_joined(tmp_path, text)
    assert read_joined(tmp_path, text.replace("mel", "nv"))["lesion_id"].nunique() == 2  # one of them may be named so


def test_what_two_tables_state_differently_is_a_fault(tmp_path: Path) -> None:
    labels = "image,lesion_id,dx\na0,L0,nv\na1,,nv\n"
    assert read_joined(tmp_path, labels, LESIONS)["lesion_id"].tolist() == ["L0", "L0"]  # filled where it is blank
    with pytest.raises(InputError, match=r"lesion_id that 0.csv and 1.csv state differently, of \(1\):\n  a0"):
        read_joined(tmp_path, labels.replace("L0", "L9"), LESIONS)
    with pytest.raises(InputError, match=r"image_id of which 1.csv says different things \(1\):\n  a0"):
        read_joined(tmp_path, labels, LESIONS + "a0.jpg,L7\n")


def test_rows_without_a_lesion_id_are_not_joined_on_it(tmp_path: Path) -> None:
    table = read_joined(tmp_path, "image,lesion_id,dx\na,,nv\nb,L1,nv\n", "lesion_id,skin_tone_class\n,5\nL1,2\n")
    assert table["skin_tone"].tolist() == ["unknown", "2"]


def test_columns_are_known_in_any_case_and_by_the_names_of_other_data_sets(tmp_path: Path) -> None:
    rows = "a,nv,P1,F,torso,30\nb,nv,P1,Male,,\nc,mel,P2,m,hand,40\n"
    table = read_joined(tmp_path, f"image,dx,Patient_ID,Gender,anatom_site_general_challenge,Age\n{rows}")
    assert table["sex"].tolist() == ["female", "male", "male"] and table["age"].fillna(0).tolist() == [30, 0, 40]
    assert table["localization"].tolist() == ["torso", "unknown", "hand"]
    assert table["patient_id"].tolist() == table["lesion_id"].tolist() == ["P1", "P1", "P2"]
    table = read_joined(tmp_path, f"image,dx,Lesion_ID,SEX,sex,age\n{rows}")  # the one that is spelled exactly wins
    assert table["lesion_id"].tolist() == ["P1", "P1", "P2"] and table["sex"].tolist() == ["torso", "unknown", "hand"]


def test_a_value_that_says_it_is_missing_is_missing(tmp_path: Path) -> None:
    spelled = ["NA", "nan", "N/A", "None", "null", "unknown", ""]
    rows = [f"a{n},nv,{value},{value},{value},{value}" for n, value in enumerate(spelled)]
    table = read_joined(tmp_path, "\n".join(["image,dx,lesion_id,age,sex,anatom_site_general", *rows]) + "\n")
    assert table["age"].isna().all() and table["lesion_id"].tolist() == list(table.index)
    assert set(table["sex"]) == set(table["localization"]) == {"unknown"}


def test_an_error_of_a_spreadsheet_is_no_diagnosis(tmp_path: Path) -> None:
    rows = "a,nv,L1,#N/A\nb,#N/A,L2,m\nc,nv,#N/A,#REF!\nd,#NAME?,#VALUE!,f\ne,#1,#DIV/0!,f\n"
    with pytest.raises(InputError) as caught:
        read_joined(tmp_path, f"image,dx,lesion_id,sex\n{rows}")
    assert "sex of 0.csv that is an error of a spreadsheet, in line (1):\n  4: #ref!\n" in str(caught.value)
    assert "dx of 0.csv that is an error of a spreadsheet, in line (2):\n  3: #N/A\n  5: #NAME?\n" in str(caught.value)
    assert "lesion_id of 0.csv that is an error of a spreadsheet, in line (2):\n  5: #VALUE!\n" in str(caught.value)
    table = read_joined(tmp_path, "image,dx,lesion_id,sex\na,nv,#N/A,#N/A\n")  # what a look-up did not find
    assert table["lesion_id"].tolist() == ["a"] and table["sex"].tolist() == ["unknown"]


CHOSEN = (
    "image_id,file,lesion_id,patient,dx,malignant\ni0,a.jpg,L0,P0,mel,yes\ni1,b.jpg,L1,P0,nv,no\ni2,c.jpg,L2,,nv,no\n"
)


@pytest.mark.parametrize(
    ("columns", "images", "labels", "lesions", "patients"),
    [
        ({}, "i0 i1 i2", "mel nv nv", "L0 L1 L2", "L0 L1 L2"),
        ({"image": "file"}, "a b c", "mel nv nv", "L0 L1 L2", "L0 L1 L2"),
        ({"label": "malignant"}, "i0 i1 i2", "yes no no", "L0 L1 L2", "L0 L1 L2"),
        ({"group": "patient"}, "i0 i1 i2", "mel nv nv", "L0 L1 L2", "P0 P0 L2"),
        ({"group": "image_id"}, "i0 i1 i2", "mel nv nv", "L0 L1 L2", "i0 i1 i2"),
        ({"image": "file", "group": "image_id", "label": "patient"}, "a b c", "P0 P0 ", "L0 L1 L2", "i0 i1 i2"),
    ],
)
def test_a_chosen_column_counts_beside_the_usual_one(
    columns: dict[str, str], images: str, labels: str, lesions: str, patients: str, tmp_path: Path
) -> None:
    (tmp_path / "0.csv").write_text(CHOSEN)
    table = read_metadata(tmp_path / "0.csv", Faults(), Columns(**columns), classes=None)
    found = [" ".join(table[name]) for name in ("image_id", "dx", "lesion_id", "patient_id")]
    assert found == [images, labels, lesions, patients]


@pytest.mark.parametrize("columns", [{"image": "fil"}, {"label": "malignantt"}, {"group": "patientt"}])
@pytest.mark.parametrize("form", [CHOSEN, "isic_id,diagnosis_1\na,Nevus\n", "image,MEL,NV\na,1,0\n"])
def test_a_chosen_column_that_is_missing_is_never_replaced(columns: dict[str, str], form: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=next(iter(columns.values()))):
        read_joined(tmp_path, form, columns=Columns(**columns))


def test_a_lesion_has_one_diagnosis_and_a_patient_may_have_several(tmp_path: Path) -> None:
    text = "image,dx,patient,lesion_id\na,nv,P,L1\nb,mel,P,L2\nc,nv,Q,L2\n"
    with pytest.raises(InputError, match=r"lesion with two diagnoses \(1\):\n  L2: mel, nv"):
        read_joined(tmp_path, text, columns=Columns(group="patient"))
    alone = "image,dx,patient\na,nv,P\nb,mel,P\nc,nv,\n"
    assert read_joined(tmp_path, alone, columns=Columns(group="patient"))["lesion_id"].tolist() == ["P", "P", "c"]
