"""The weighted mean of two checkpoints: against numpy, its ends to the bit, what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.errors import ConfigError, DataError
from tersely.engines.models import lab_folder, load_policy
from tersely.flows import merge as merging
from tersely.flows.merge import merge, mix, read_places

WEIGHTS = (0.0, 0.3, 1.0)


def noisy(folder, *, dtype=torch.float32, shard=None, seed=0):
    """The lab's model with noise on its weights."""
    model, tokenizer = load_policy("lab")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.02)
    model = model.to(dtype)
    model.save_pretrained(folder, **({} if shard is None else {"max_shard_size": shard}))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    place = tmp_path_factory.mktemp("pair")
    return noisy(place / "a", seed=1), noisy(place / "b", seed=2, shard="300KB")


def whole(folder):
    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def bits(tensors):
    return {name: tensor.view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()}


def test_its_ends_are_the_two_to_the_bit_and_between_them_it_is_numpys_mean(pair, tmp_path):
    a, b = pair
    folders = merge(str(a), str(b), WEIGHTS, tmp_path / "out")
    assert [folder.name for folder in folders] == ["weight-0", "weight-0.3", "weight-1"]
    zero, some, one = map(whole, folders)
    assert bits(zero) == bits(whole(a))
    assert bits(one) == bits(whole(b))
    first, second = whole(a), whole(b)
    for name, tensor in some.items():
        start = first[name].numpy()
        wanted = start + (second[name].numpy() - start) * np.float32(0.3)
        np.testing.assert_array_equal(tensor.numpy(), wanted)
    # The same header and data as A's, byte for byte.
    file = "model.safetensors"
    assert (folders[0] / file).read_bytes() == (a / file).read_bytes()


def test_the_other_way_round_shards_lie_as_in_the_first(pair, tmp_path):
    a, b = pair
    assert len(list(b.glob("*.safetensors"))) > 2
    (there,) = merge(str(b), str(a), (0.5,), tmp_path / "there")
    (back,) = merge(str(a), str(b), (0.5,), tmp_path / "back")
    index = "model.safetensors.index.json"
    assert json.loads((there / index).read_text()) == json.loads((b / index).read_text())
    one, other = whole(there), whole(back)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-6, atol=1e-7)


def test_a_merged_model_is_loaded_and_answers(pair, tmp_path):
    (folder,) = merge(str(pair[0]), "lab", (0.5,), tmp_path / "out")
    model, tokenizer = load_policy(str(folder))
    ids = torch.tensor([tokenizer("1+2")["input_ids"]])
    assert torch.isfinite(model(input_ids=ids).logits).all()
    note = json.loads((folder / "merged.json").read_text())
    assert (note["second"], note["weight"]) == ("lab", 0.5)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="not as it was written"):
        load_policy(str(folder))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_half_precision_is_rounded_once_and_the_type_is_kept(dtype):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(500, generator=generator).to(dtype) for _ in range(2))
    merged = mix(a, b, 0.3)
    wide = np.float64 if dtype is torch.float64 else np.float32
    start = a.to(torch.float64).numpy().astype(wide)
    exact = start + (b.to(torch.float64).numpy().astype(wide) - start) * wide(0.3)
    assert merged.dtype is dtype
    torch.testing.assert_close(merged, torch.from_numpy(exact).to(dtype), rtol=0, atol=0)
    # Where both agree, so does the mean; the first's own numbers come back.
    assert torch.equal(mix(a, a, 0.3), a)


def test_a_tensor_in_pieces_is_the_tensor(pair, tmp_path, monkeypatch):
    (whole_one,) = merge(str(pair[0]), str(pair[1]), (0.25,), tmp_path / "one")
    monkeypatch.setattr(merging, "PIECE", 1000)
    (pieces,) = merge(str(pair[0]), str(pair[1]), (0.25,), tmp_path / "pieces")
    assert bits(whole(pieces)) == bits(whole(whole_one))


def test_places_are_what_safetensors_itself_reads(pair):
    for file in pair[1].glob("*.safetensors"):
        with safe_open(file, "np") as content:
            for name, place in read_places(file):
                assert content.get_slice(name).get_dtype() == place.dtype
                assert tuple(content.get_slice(name).get_shape()) == place.shape


def _without_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"][:-1].contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _another_config(folder):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rms_norm_eps": 0.5}))


def _other_tokens(folder):
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["8"], vocabulary["9"] = vocabulary["9"], vocabulary["8"]
    file.write_text(json.dumps(content))


def _other_template(folder):
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text() + " ")


def _adapter(folder):
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x/y"}))


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_without_a_tensor, r"model\.norm\.weight is in .*a only"),
        (_another_shape, r"model\.norm\.weight is F32 \[96\] in the first and F32 \[95\]"),
        (_another_config, r"rms_norm_eps is 1e-0\d in the first's config\.json"),
        (_other_tokens, "their tokenizers number tokens differently"),
        (_other_template, "their chat templates differ"),
        (_adapter, r"holds only an adapter .*merge_and_unload"),
        (_pickled, "has its weights in pytorch_model.bin, and safetensors are merged"),
    ],
)
def test_what_has_no_mean_is_refused_and_nothing_is_written(pair, tmp_path, spoil, complaint):
    other = tmp_path / "other"
    shutil.copytree(pair[0], other)
    spoil(other)
    with pytest.raises(ConfigError, match=complaint):
        merge(str(pair[0]), str(other), (0.5,), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("theirs", "complaint"),
    [
        (2, r"count holds whole numbers \(I64\) that differ"),
        (1.0, r"count is I64 \[1\] in the first and F32 \[1\] in the second"),
    ],
)
def test_whole_numbers_that_differ_are_refused(theirs, complaint, tmp_path):
    for name, value in (("a", 1), ("b", theirs)):
        shutil.copytree(lab_folder(), tmp_path / name)
        file = tmp_path / name / "model.safetensors"
        save_file(load_file(file) | {"count": torch.tensor([value])}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=complaint):
        merge(str(tmp_path / "a"), str(tmp_path / "b"), (0.5,), tmp_path / "out")
    assert not list((tmp_path / "out").glob("weight-0.5"))


@pytest.mark.parametrize(
    ("weight", "complaint"),
    [
        ("1.5", "--weight 1.5 is outside 0 (A) to 1 (B)"),
        ("nan", "--weight nan is outside"),
        ("0.5,0.50", "--weight names one weight twice"),
        ("half", "--weight 'half' is no list of numbers"),
    ],
)
def test_a_weight_that_cannot_be_ends_with_one_line(weight, complaint, tmp_path):
    words = ["merge", "lab", "lab", "--weight", weight, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert complaint in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_the_command_writes_each_weight_and_refuses_to_write_over_one(tmp_path):
    words = ["merge", "lab", "lab", "--weight", "0.25,0.75", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert [*map(str, (tmp_path / "out").iterdir())].sort() == json.loads(done.stdout)[
        "folders"
    ].sort()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "weight-0.25 exists" in " ".join(again.stderr.split())


@pytest.mark.parametrize("content", [
    b"",
    b"abc",
    bytes(range(100, 200)),
    (20).to_bytes(8, "little") + b"n" * 20,
    (2).to_bytes(8, "little") + b"[]",
    (1 << 40).to_bytes(8, "little") + b"{}",
])  # fmt: skip
def test_damaged_weights_end_with_one_line(content, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(lab_folder(), other)
    (other / "digests.json").unlink(missing_ok=True)
    (other / "model.safetensors").write_bytes(content)
    words = ["merge", "lab", str(other), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    said = done.stderr.splitlines()[-1]
    assert f"model.safetensors of {len(content)} bytes is damaged: " in said
    assert "; fetch it again, or save the model anew" in said
    assert not list((tmp_path / "out").glob("weight*"))


def refused(*words):
    done = CliRunner().invoke(app, ["merge", *map(str, words)])
    assert done.exit_code == 2, done.output
    return done.stderr.splitlines()[-1]


def test_weights_of_one_short_name_are_named_in_full_and_minus_zero_is_zero(tmp_path):
    folders = merge("lab", "lab", (-0.0, 0.5, 0.1234567, 0.12345671), tmp_path / "out")
    names = ["weight-0.0", "weight-0.5", "weight-0.1234567", "weight-0.12345671"]
    assert [folder.name for folder in folders] == names
    assert merging._names([0.0, 0.3]) == ["0", "0.3"]
    said = refused("lab", "lab", "--weight", "0,-0", "--out", tmp_path / "other")
    assert "--weight names one weight twice" in said


def test_what_is_wrong_with_a_model_names_the_argument(tmp_path):
    out = ("--out", tmp_path / "out")
    assert "B '' names no folder; give the folder" in refused("lab", "", *out)
    assert "A 'nowhere' is no folder" in refused("nowhere", "lab", *out)
    bare = tmp_path / "bare"
    shutil.copytree(lab_folder(), bare)
    for file in bare.glob("tokenizer*"):
        file.unlink()
    said = refused("lab", bare, *out)
    assert f"B '{bare}'" in said
    assert "model.path" not in said
    # A reason that is cut ends with a word.
    assert "..." not in said.replace(" ...", "")


def test_a_file_where_a_folder_is_written_is_named(tmp_path):
    (tmp_path / "weight-0.5.tmp").write_text("")
    said = refused("lab", "lab", "--out", tmp_path)
    assert f"{tmp_path}/weight-0.5.tmp is a file, and a folder is written there; remove it" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("spoilt", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_a_run_that_diverged_are_refused_and_nothing_is_left(
    tmp_path, monkeypatch, value, spoilt, dtype
):
    monkeypatch.setattr(merging, "PIECE", 7)
    folders = [noisy(tmp_path / name, dtype=dtype) for name in "ab"]
    file = folders[spoilt] / "model.safetensors"
    tensors = load_file(file)
    last = sorted(tensors)[-1]
    tensors[last].flatten()[-1] = value
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=f"{last} of {folders[spoilt]} holds NaN or an infinity"):
        merge(*map(str, folders), [0.25, 0.5], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("first", "second"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)],
)
def test_of_two_float_types_the_firsts_is_written(first, second, tmp_path):
    a = noisy(tmp_path / "a", dtype=first, seed=1)
    b = noisy(tmp_path / "b", dtype=second, seed=2)
    zero, half, one = map(whole, merge(str(a), str(b), (0.0, 0.5, 1.0), tmp_path / "out"))
    assert bits(zero) == bits(whole(a))
    for name, theirs in whole(b).items():
        mine = whole(a)[name]
        mean = ((theirs.float() - mine.float()) * 0.5 + mine.float()).to(first)
        assert one[name].dtype is half[name].dtype is first
        assert torch.equal(one[name], theirs.to(first))
        assert torch.equal(half[name], mean)


def test_the_wider_of_two_types_is_what_is_computed_in():
    # In float32 the second would be 1, and the mean 0.75.
    a, b = torch.tensor([0.0]), torch.tensor([1 + 2**-24], dtype=torch.float64)
    assert mix(a, b, 0.75).item() == 0.75 + 2**-24


def test_a_number_that_the_firsts_type_cannot_hold_is_refused(tmp_path):
    a = noisy(tmp_path / "a", dtype=torch.float16)
    b = noisy(tmp_path / "b", dtype=torch.float32)
    file = b / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][3] = 70000.0
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"model\.norm\.weight of .*b holds numbers beyond F16"):
        merge(str(a), str(b), (1.0,), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("both", [False, True])
def test_weights_of_eight_bits_are_refused(dtype, both, tmp_path):
    folders = [noisy(tmp_path / name) for name in "ab"]
    for folder in folders[: 1 + both]:
        file = folder / "model.safetensors"
        tensors = {n: t.to(getattr(torch, dtype)) for n, t in load_file(file).items()}
        save_file(tensors, file, metadata={"format": "pt"})
    said = refused(*folders, "--out", tmp_path / "out")
    assert "is F8_E" in said
    assert "is quantized, and numbers of a grid have no mean on it" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stored", ["first", "second"])
def test_a_tied_head_that_one_of_the_two_stores_is_no_difference(stored, pair, tmp_path):
    a, b = noisy(tmp_path / "a", seed=1), noisy(tmp_path / "b", seed=2)
    file = (a if stored == "first" else b) / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    (folder,) = merge(str(a), str(b), (0.5,), tmp_path / "out")
    merged = whole(folder)
    (plain,) = merge(*map(str, pair), (0.5,), tmp_path / "plain")
    wanted = whole(plain)
    if stored == "first":
        wanted["lm_head.weight"] = wanted["model.embed_tokens.weight"]
    assert bits(merged) == bits(wanted)
    model, _ = load_policy(str(folder))
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_a_head_that_differs_from_what_it_should_be_tied_to_is_a_difference(pair, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(pair[0], other)
    file = other / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, file, metadata={"format": "pt"})
    for two in ((pair[0], other), (other, pair[0])):
        with pytest.raises(ConfigError, match=r"lm_head\.weight is in .*other only"):
            merge(*map(str, two), (0.5,), tmp_path / "out")
