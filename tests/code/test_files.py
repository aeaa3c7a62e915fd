"""Files are there whole or not at all, and what cannot be read is said in words."""

import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from takeoff import files
from takeoff.errors import TakeoffError

OLD, NEW = "what was there before", "what comes next"
LIMIT = 64 * 1024  # bytes; far less than LARGE, far more than a temporary folder needs
LARGE = pd.DataFrame({"number": np.random.default_rng(1).random(40_000)})

WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, NEW * LIMIT),
    "bytes": lambda path: files.write_bytes(path, bytes(2 * LIMIT)),
    "json": lambda path: files.write_json(path, [NEW] * LIMIT),
    "rows": lambda path: files.write_rows(path, LARGE),
}


@pytest.fixture
def rows(split_rows: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    return split_rows("test").head(500)


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_a_write_that_is_stopped_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    path = tmp_path / "file.txt"
    path.write_text(OLD)

    with pytest.raises(stop), files.replacing(path) as temporary:
        temporary.write_text(NEW[:3])
        raise stop

    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_readable_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text(OLD)

    with files.replacing(path) as temporary:
        temporary.write_text(NEW)
        during = path.read_text()

    assert (during, path.read_text()) == (OLD, NEW)


def test_a_number_that_json_does_not_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    files.write_json(path, {"value": 1})

    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"value": float("nan")})

    assert files.read_json(path) == {"value": 1}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_write_beyond_the_allowed_size_is_told_in_words_and_keeps_the_old_file(
    tmp_path: Path, writer: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_text(OLD)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        with pytest.raises(TakeoffError, match=r"file could not be written: .*too large.*untouched"):
            writer(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of `LIMIT` bytes."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={LIMIT}", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root, and not in every container, may mount a small disk to fill")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_told_in_words_and_keeps_the_old_file(
    small_disk: Path, writer: Callable[[Path], None]
) -> None:
    path = small_disk / "file"
    path.write_text(OLD)

    with pytest.raises(TakeoffError, match=r"file could not be written: .*No space left.*untouched"):
        writer(path)

    assert path.read_text() == OLD
    assert list(small_disk.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_folder(small_disk: Path) -> None:
    folder = small_disk / "folder"
    files.replace_folder(folder, lambda new: files.write_text(new / "file", OLD))

    with pytest.raises(TakeoffError, match="No space left"):
        files.replace_folder(folder, lambda new: WRITERS["bytes"](new / "file"))

    assert (folder / "file").read_text() == OLD
    assert list(small_disk.iterdir()) == [folder]


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text(OLD)

    with pytest.raises(TakeoffError, match="could not be written"):
        files.write_text(tmp_path / "in_the_way" / "file", NEW)

    assert (tmp_path / "in_the_way").read_text() == OLD


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    files.replace_folder(folder, lambda new: files.write_text(new / "a", OLD))

    files.replace_folder(folder, lambda new: files.write_text(new / "b", NEW))

    assert [each.name for each in folder.iterdir()] == ["b"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_whose_filling_fails_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    files.replace_folder(folder, lambda new: files.write_text(new / "a", OLD))

    def fill(new: Path) -> None:
        files.write_text(new / "a", NEW)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.replace_folder(folder, fill)

    assert (folder / "a").read_text() == OLD
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_swap_that_is_interrupted_between_its_two_moves_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    files.replace_folder(folder, lambda new: files.write_text(new / "a", OLD))
    move, moves = Path.replace, []

    def interrupted(source: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 3:  # the first is that of the file within
            raise KeyboardInterrupt
        return move(source, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.replace_folder(folder, lambda new: files.write_text(new / "a", NEW))

    assert moves[2] == folder
    assert (folder / "a").read_text() == OLD
    assert list(tmp_path.iterdir()) == [folder]


def test_rows_come_back_as_they_were_written(tmp_path: Path, rows: pd.DataFrame) -> None:
    files.write_rows(tmp_path / "rows.parquet", rows)

    pd.testing.assert_frame_equal(files.read_rows(tmp_path / "rows.parquet"), rows)


def test_the_same_rows_make_the_same_bytes_whatever_their_index(tmp_path: Path, rows: pd.DataFrame) -> None:
    files.write_rows(tmp_path / "one", rows)
    files.write_rows(tmp_path / "two", rows.set_axis(range(7, 7 + len(rows))))

    assert files.sha256(tmp_path / "one") == files.sha256(tmp_path / "two")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_parquet_file_is_refused_by_name(tmp_path: Path, rows: pd.DataFrame, kept: float) -> None:
    path = tmp_path / "rows.parquet"
    files.write_rows(path, rows)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    with pytest.raises(TakeoffError, match=r"rows\.parquet cannot be read as Parquet .*cut off.*dvc repro"):
        files.read_rows(path)


def test_a_parquet_file_that_is_damaged_within_is_refused_by_name(tmp_path: Path, rows: pd.DataFrame) -> None:
    path = tmp_path / "rows.parquet"
    files.write_rows(path, rows)
    content = bytearray(path.read_bytes())
    content[100:2000] = bytes(1900)
    path.write_bytes(content)

    with pytest.raises(TakeoffError, match=r"rows\.parquet cannot be read as Parquet"):
        files.read_rows(path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.touch()

    with pytest.raises(TakeoffError, match=r"rows\.parquet is an empty file"):
        files.read_rows(path)


@pytest.mark.parametrize("read", [files.read_rows, files.read_json])
def test_a_file_that_is_not_there_is_named_with_what_makes_it(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(TakeoffError, match=r"file is missing\. Run `dvc repro`"):
        read(tmp_path / "file")


def test_a_cut_off_json_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"key": "value"})[:-3])

    with pytest.raises(TakeoffError, match=r"file\.json is not valid JSON"):
        files.read_json(path)


def test_files_that_belong_together_take_their_places_together(tmp_path: Path) -> None:
    made, written = tmp_path / "made.html", tmp_path / "folder" / "written.json"
    files.neighbour(made).write_text("drawn")

    files.replace_together({written: "ü\n"}, [made])

    assert (made.read_text(), written.read_bytes()) == ("drawn", "ü\n".encode())
    assert sorted(each.name for each in tmp_path.rglob("*.*")) == ["made.html", "written.json"]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_of_files_that_belong_together_none_is_touched_where_one_cannot_be_written(
    tmp_path: Path, bad: int
) -> None:
    paths = [tmp_path / f"{i}.json" for i in range(3)]
    for path in paths:
        path.write_text("old")
    files.neighbour(paths[bad]).mkdir()

    with pytest.raises(TakeoffError, match=f"{bad}.json could not be written"):
        files.replace_together(dict.fromkeys(paths, "new"))

    assert [path.read_text() for path in paths] == ["old"] * 3
    files.neighbour(paths[bad]).rmdir()
    assert sorted(tmp_path.iterdir()) == paths
