"""Step logs whose rows or cells are not as a trainer writes them."""

import numpy as np
import pytest

from tersely.core.errors import DataError
from tersely.dynamics.log import make_log
from tersely.readers.steplogs import Writer, read_steps


def written(path, steps, *, cell="0.5", longest=100):
    rows = "".join(f"{step},{longest - step},{cell}\n" for step in steps)
    path.write_text(f"step,len,acc\n{rows}")
    return path


def read(file, **columns):
    return read_steps(file, writer=Writer.CSV, columns={"tokens_mean": "len", **columns})


def test_a_log_newest_first_is_read_from_its_end_with_a_note(tmp_path):
    log = read(written(tmp_path / "a.csv", range(20, 0, -1)))
    assert log.step_N.tolist() == list(range(1, 21))
    assert log.columns["tokens_mean"].tolist() == list(range(99, 79, -1))
    assert log.repeated_steps == 0
    assert any("newest first" in note for note in log.notes)


def test_a_restart_in_a_log_newest_first_supersedes_what_it_repeats():
    steps = [*range(1, 11), *range(6, 16)]
    values = [*range(10), *range(100, 110)]
    log = make_log(steps[::-1], {"loss": values[::-1]})
    assert log.step_N.tolist() == list(range(1, 16))
    assert log.columns["loss"].tolist() == [0, 1, 2, 3, 4, *range(100, 110)]
    assert log.repeated_steps == 5


def test_steps_sorted_as_text_lose_nothing():
    steps = sorted(range(1, 31), key=str)
    log = make_log(steps, {"loss": steps})
    assert log.step_N.tolist() == list(range(1, 31)) == log.columns["loss"].tolist()
    assert log.repeated_steps == 0
    assert log.notes


@pytest.mark.parametrize(
    "steps", [[1, 2, 3, 2, 3, 4], [1, 1, 2], [0, 1, 0], [1, 0, 1, 0], [10, 11, 12, 5, 6, 7]]
)
def test_a_restart_is_no_order(steps):
    log = make_log(steps, {"loss": np.arange(len(steps))})
    assert log.notes == ()
    assert log.repeated_steps > 0


def test_percent_in_a_column_that_was_named_are_shares(tmp_path):
    log = read(written(tmp_path / "a.csv", range(5), cell="50.0%"), accuracy="acc")
    assert log.columns["accuracy"].tolist() == [0.5] * 5


@pytest.mark.parametrize("cell", ["half", "50 percent", "1/2", "$5"])
def test_what_is_no_number_in_a_named_column_is_refused_with_the_row(tmp_path, cell):
    with pytest.raises(DataError, match=r"row 1 has .* in column 'acc'.*write it as 0.5 or 50%"):
        read(written(tmp_path / "a.csv", range(5), cell=cell), accuracy="acc")


@pytest.mark.parametrize("cell", ["", "NaN", "None", "null", "NA"])
def test_a_gap_in_a_named_column_is_no_fault(tmp_path, cell):
    assert read(written(tmp_path / "a.csv", range(5), cell=cell), accuracy="acc").step_N.size == 5


def test_a_named_column_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no column 'accu'; it has step, len, acc; correct --c"):
        read(written(tmp_path / "a.csv", range(5)), accuracy="accu")


@pytest.mark.parametrize("rows", [12, 100, 300])
@pytest.mark.parametrize("seed", range(8))
def test_shuffled_rows_are_refused(tmp_path, rows, seed):
    steps = np.random.default_rng(seed).permutation(rows)
    with pytest.raises(DataError, match="sort it by its step"):
        read(written(tmp_path / "a.csv", steps, longest=1000))


@pytest.mark.parametrize(
    "steps",
    [
        [*range(20), 21, 20, *range(22, 40)],  # Two rows changed places.
        [*range(10), *range(20, 30), *range(10, 20), *range(30, 40)],  # Two parts did.
        [*range(20), *range(25, 40), *range(20, 25), *range(40, 60)][::-1],  # Newest first.
    ],
)
def test_rows_out_of_order_are_refused(tmp_path, steps):
    with pytest.raises(DataError, match="its steps are out of order"):
        read(written(tmp_path / "a.csv", steps, longest=1000))


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([*range(30), *range(20, 40)], range(40)),
        ([*range(30), *range(25, 35), *range(20, 40)], range(40)),
        # From a checkpoint between two logged steps, at the same distance.
        ([*range(0, 101, 10), *range(75, 150, 10)], [*range(0, 71, 10), *range(75, 150, 10)]),
        # The second ended before it came as far.
        ([*range(30), *range(20, 25)], range(25)),
        # Two runs, one after another, of which the second was begun anew.
        ([*range(30), *range(20), *range(15, 40)], range(40)),
        ([*range(30), *range(50), *range(20)], range(20)),
    ],
)
def test_restarts_and_runs_one_after_another_are_read(tmp_path, steps, kept):
    assert read(written(tmp_path / "a.csv", steps, longest=1000)).step_N.tolist() == list(kept)


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        (
            "Iter,resp_len",
            "{n},9",
            "for instance --column step=Iter --column tokens_mean=resp_len ",
        ),
        ("loss,tokens_mean", "{n},9", "add a column step that counts the steps, or name one with "),
        ("loss,batch,chars", "1,{n},9", "for instance --column step=batch "),
        ("loss,when", "1,0.{n}", "add a column step that counts the steps"),
        ("step,foo", "{n},9", "name one with --column OURS=THEIRS "),
        ("step,out_len", "{n},9", "for instance --column tokens_mean=out_len "),
    ],
)
def test_what_to_name_is_a_column_of_the_file(tmp_path, head, row, said):
    file = tmp_path / "a.csv"
    file.write_text("\n".join([head, *(row.format(n=n) for n in range(1, 6))]) + "\n")
    with pytest.raises(DataError) as error:
        read_steps(file, columns={})
    assert said in str(error.value)
    assert "step=Step" not in str(error.value)
    assert "tokens_mean=tokens_mean" not in str(error.value)
