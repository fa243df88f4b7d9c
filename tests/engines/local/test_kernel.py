import ctypes
import math
import shutil

import pytest
import torch

from tersely.engines.local import kernel as kernel_module
from tersely.engines.local.kernel import load_kernel
from tersely.engines.local.pages import PAGE, PagedCache

EPS = 1e-6


FUNCTIONS = ("rms", "swiglu", "attend", "product", "step", "choose")


@pytest.fixture
def small(monkeypatch, tmp_path_factory):
    """A source that has the kernel's functions and is built at once: what is tested is building."""
    source = tmp_path_factory.mktemp("source") / "small.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in FUNCTIONS))
    monkeypatch.setattr(kernel_module, "_SOURCE", source)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing built yet, and nothing kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_kernel.cache_clear()
    yield tmp_path / "tersely" / "kernel"
    load_kernel.cache_clear()


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 24), (7, 97), (600, 96)])
def test_rms_divides_each_row_by_its_root_mean_square(kernel, rows, size):
    x = 3 * torch.randn(rows, size)
    out = torch.empty_like(x)
    kernel.rms(x, out, eps=0.1)
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 0.1).sqrt()
    torch.testing.assert_close(out.double(), exact, atol=1e-6, rtol=1e-6)


def test_swiglu_is_gate_times_sigmoid_of_gate_times_up_over_the_whole_range(kernel):
    gate = torch.cat((torch.linspace(-80, 80, 20_001), torch.tensor([-1e4, -0.0, 1e-9, 1e4])))
    gate_up = torch.stack((gate, torch.full_like(gate, 1.5)), dim=0).reshape(1, -1)
    out = torch.empty(1, gate.numel())
    kernel.swiglu(gate_up, out)
    exact = gate.double() * torch.sigmoid(gate.double()) * 1.5
    torch.testing.assert_close(out[0].double(), exact, atol=1e-30, rtol=1e-6)


def naive(qkv, gain, rotation, length, keys, values, dim):
    """One row in float64, head by head and position by position; the newest token is in qkv."""
    heads = qkv.double().view(-1, dim)
    kv_heads = keys.shape[1]
    query_heads = heads.shape[0] - 2 * kv_heads

    def turned(head, h):
        if gain is not None:
            head = head / (head.square().mean() + EPS).sqrt() * gain[h].double()
        pairs = torch.view_as_complex(head.view(-1, 2)) * rotation[length, 0].to(torch.complex128)
        return torch.view_as_real(pairs).flatten()

    out = []
    for h in range(query_heads):
        k = h // (query_heads // kv_heads)
        query = turned(heads[h], h)
        key = [*keys[:length, k].double(), turned(heads[query_heads + k], query_heads + k)]
        value = [*values[:length, k].double(), heads[query_heads + kv_heads + k]]
        weight = torch.stack([query @ x for x in key]).softmax(0)
        out.append(sum(w * v for w, v in zip(weight, value, strict=True)))
    return torch.cat(out)


@pytest.mark.parametrize(
    ("dim", "kv_heads", "group", "normed"),
    [(24, 2, 2, True), (64, 1, 3, False), (128, 1, 1, True), (8, 3, 1, True), (12, 1, 6, False)],
)
def test_attention_is_the_naive_one_in_double_precision(kernel, dim, kv_heads, group, normed):
    torch.manual_seed(dim)
    # about a page's end, a chunk's end (256) and more than two chunks
    lengths = [0, 1, 14, 15, 16, 17, 100, 254, 255, 256, 257, 530]
    rows, queries = len(lengths), kv_heads * group
    kv = torch.randn(rows, 1, 2, kv_heads, 532, dim)
    cache = PagedCache(torch.zeros(1, rows, kv_heads, 2, 1, PAGE * dim))
    cache.widen(532)
    for row, length in enumerate(lengths):
        cache.fill([row], kv[row, :, :, :, :length])
    gain = torch.rand(queries + kv_heads, dim) + 0.5 if normed else None
    rotation = torch.polar(torch.ones(532, dim // 2), 6 * torch.rand(532, dim // 2)).unsqueeze(1)
    out = torch.empty(rows, queries * dim)
    for token in range(2):  # the second also reads what the first has stored
        qkv = torch.randn(rows, (queries + 2 * kv_heads) * dim)
        asked, position = qkv.clone(), torch.tensor(lengths) + token
        kernel.attend(qkv, gain, rotation, position, cache.layers()[0], out, eps=EPS)
        for row, at in enumerate(position.tolist()):
            keys, values = kv[row, 0].transpose(1, 2)
            exact = naive(asked[row], gain, rotation, at, keys, values, dim)
            # scores reach 50, of which float32 keeps 4e-6
            torch.testing.assert_close(out[row].double(), exact, atol=3e-5, rtol=0)
            kv[row, 0, :, :, at] = qkv[row].view(-1, dim)[queries:].view(2, kv_heads, dim)


def test_threads_and_rows_beside_it_change_no_bit_of_a_row(kernel):
    torch.manual_seed(0)
    pages = torch.randn(40, 2, 2, 4, PAGE * 24)
    qkv, position = torch.randn(40, 8 * 24), torch.randint(0, 60, (40,))
    rotation = torch.polar(torch.ones(64, 12), torch.rand(64, 12)).unsqueeze(1)

    def attended(rows, threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        out = torch.empty(len(rows), 96)
        own = pages[rows].clone()
        kernel.attend(qkv[rows].clone(), None, rotation, position[rows], own, out, eps=EPS)
        torch.set_num_threads(before)
        return out

    whole = attended(range(40), 1)
    assert torch.equal(whole, attended(range(40), 2))
    assert torch.equal(whole[[5, 30]], attended([5, 30], 1))


def test_what_is_no_number_stays_so(kernel):
    pages = torch.zeros(3, 1, 2, 2, PAGE * 8)
    pages[1, 0, 0, 0, 3] = math.inf
    out = torch.empty(3, 8)
    rotation = torch.ones(32, 1, 4, dtype=torch.complex64)
    qkv = torch.ones(3, 24)
    qkv[2, 0] = math.nan
    kernel.attend(qkv, None, rotation, torch.tensor([20, 20, 20]), pages, out, eps=EPS)
    assert out[0].isfinite().all()
    assert out[1:].isnan().all()


def test_it_is_built_once_and_then_read_from_the_users_cache(small, fresh, monkeypatch):
    if load_kernel() is None:
        pytest.skip("no C compiler here")
    (library,) = fresh.iterdir()
    made = library.stat().st_mtime_ns
    ran = []
    run = kernel_module._run
    monkeypatch.setattr(kernel_module, "_run", lambda command: ran.append(command) or run(command))
    load_kernel.cache_clear()
    assert load_kernel() is not None
    assert len(ran) == 1
    assert library.stat().st_mtime_ns == made


def test_one_library_that_is_damaged_is_built_again(small, fresh):
    if load_kernel() is None:
        pytest.skip("no C compiler here")
    (library,) = fresh.iterdir()
    whole = library.read_bytes()
    # a damaged library that is loaded ends the process, so that the one in use is not written over
    library.unlink()
    library.write_bytes(whole[:4096])
    load_kernel.cache_clear()
    assert load_kernel() is not None
    assert max(file.stat().st_size for file in fresh.iterdir()) == len(whole)


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_one_that_others_could_have_written_is_not_loaded(small, mode, fresh, monkeypatch):
    if load_kernel() is None:
        pytest.skip("no C compiler here")
    (library,) = fresh.iterdir()
    loaded = []
    load = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(name) or load(name))
    for path in (library, fresh):
        path.chmod(mode)
        load_kernel.cache_clear()
        assert load_kernel() is not None
    assert str(library) not in loaded


def test_without_a_home_it_is_built_for_this_process(small, fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "~")
    monkeypatch.chdir(tmp_path)
    if load_kernel() is None:
        pytest.skip("no C compiler here")
    assert not list(tmp_path.iterdir())


def test_a_compiler_of_another_language_builds_it_too(fresh, monkeypatch):
    monkeypatch.setenv("CC", "c++")
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler here")
    assert load_kernel() is not None


def test_what_an_earlier_row_left_beyond_the_end_matters_to_nothing(kernel):
    rotation = torch.ones(32, 1, 4, dtype=torch.complex64)
    seen = []
    for left in (0.0, math.nan):
        pages, out = torch.full((1, 1, 2, 2, PAGE * 8), left), torch.empty(1, 8)
        for position in range(19):
            qkv = torch.linspace(-1.0, 1.0, 24)[None] * (position + 1)
            kernel.attend(qkv, None, rotation, torch.tensor([position]), pages, out, eps=EPS)
        seen.append(out)
    assert torch.equal(*seen)


@pytest.mark.parametrize("compiler", ["there-is-no-such-compiler", "false", "true", "it's"])
def test_without_a_compiler_that_works_there_is_none(compiler, fresh, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    assert load_kernel() is None


def test_where_threads_cannot_be_had_it_is_built_without(small, fresh, monkeypatch):
    load = ctypes.CDLL
    tried = []

    def refuse_the_first(name):
        tried.append(name)
        if len(tried) == 1:
            raise OSError("undefined symbol: GOMP_parallel")
        return load(name)

    if load_kernel() is None:
        pytest.skip("no C compiler here")
    load_kernel.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", refuse_the_first)
    assert load_kernel() is not None
    assert len(set(tried)) == 2
