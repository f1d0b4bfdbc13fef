"""Threads, forks and the fallback without the C functions of DLPack, each in a process of its own."""

import pytest
from processes import run

torch = pytest.importorskip("torch")

import fastact.torch as ft  # noqa: E402

ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize("order", ["import torch, fastact", "import fastact, torch"])
def test_the_thread_count_is_that_of_pytorch(order):
    """The kernel sees the count of PyTorch in the call, and the count of fastact is back afterwards.

    No block is opened for a call whose count is that of fastact.
    """
    code = f"""
{order}
import fastact.torch as ft
from fastact.torch import _exchange
fastact.set_num_threads(2)
seen = []
def spy(*arguments, **keywords):
    seen.append(fastact.get_num_threads())
    return fastact.gelu(*arguments, **keywords)
def spy_on_blocks(*arguments, open_block=_exchange.open_block):
    block = open_block(*arguments)
    seen.append(("block", fastact.get_num_threads()))
    return block
_exchange.open_block = spy_on_blocks
x = torch.randn(1 << 16)
right = torch.from_numpy(fastact.gelu(x.numpy()))
for threads in (1, 2, 3):
    torch.set_num_threads(threads)
    assert torch.equal(ft.gelu(x), right)
    _exchange.compute(spy, x.numpy())
    assert fastact.get_num_threads() == 2
print(seen)
"""
    blocks = {threads: f"('block', {threads}), " for threads in (1, 3)}
    assert run(code, **ALONE) == f"[{2 * blocks[1]}1, 2, {2 * blocks[3]}3]"


def test_without_the_c_functions_the_bits_are_the_same():
    """PyTorch before 2.10 has no `__dlpack_c_exchange_api__`."""
    def results():
        generator = torch.Generator().manual_seed(0)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            x = torch.randn(4, 6, generator=generator).to(dtype).requires_grad_()
            for f in (ft.gelu, ft.softmax, ft.logsumexp, ft.swiglu, lambda v: ft.gelu(v.T[::2])):
                y = f(x)
                yield y.detach()
                yield from torch.autograd.grad(y.sum(), x)
            yield ft.softmax_cross_entropy(x.detach(), torch.tensor([0, 5, 2, 1]))
    right = list(results())
    class Old:
        pass
    assert not ft._exchange.load(Old)
    try:
        assert ft._operations.VALUES["gelu"].direct.run(torch.randn(3)) is None
        found = list(results())
    finally:
        assert ft._exchange.load(torch.Tensor) == hasattr(torch.Tensor, "__dlpack_c_exchange_api__")
    assert len(found) == len(right)
    assert all(map(torch.equal, found, right))


def test_forks_before_and_after_a_call():
    pytest.importorskip("fcntl")
    code = """
import os, torch, fastact.torch as ft
x = torch.randn(1 << 16)
right = torch.nn.functional.silu(x)
def child():
    process = os.fork()
    if process == 0:
        os._exit(0 if torch.allclose(ft.silu(x), right, atol=1e-6) else 1)
    return os.waitpid(process, 0)[1]
print(child(), torch.allclose(ft.silu(x), right, atol=1e-6), child())
"""
    assert run(code, "-W", "ignore::DeprecationWarning", **ALONE) == "0 True 0"


def test_workers_of_a_loader():
    pytest.importorskip("fcntl")
    code = """
import torch, fastact.torch as ft
class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, k):
        return ft.gelu(torch.full((20000,), float(k)))
ft.gelu(torch.randn(1 << 16))
loader = torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2, multiprocessing_context="fork")
found = torch.cat(list(loader))
print(tuple(found.shape), torch.allclose(found[:, 0], torch.nn.functional.gelu(torch.arange(8.0))))
"""
    assert run(code, "-W", "ignore::DeprecationWarning", **ALONE) == "(8, 20000) True"
