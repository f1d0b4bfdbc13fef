"""Which modules of PyTorch are faster with fastact: what `DEFAULT` of fastact/torch/_patching.py says.

    python benchmarks/torch_modules.py
    python benchmarks/torch_modules.py --threads 1 2 --dtypes float32 bfloat16 --elements 1000000 --only Mish Softmax

On a quiet machine, with PyTorch: each module of `fastact.torch.nn` beside the class of PyTorch that it replaces, in
turns.  A figure is the time of PyTorch's divided by that of fastact's, of forward without a gradient, and of forward
and backward; rows have 1,000 entries.  Where `patch` does by default what the first column does not say, the line ends
with a note: a module that is faster there in both figures should be replaced, any other one should not.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
from costs import seconds

import fastact.torch
from fastact.torch.nn import MODULES

ROW = 1000
ARGUMENTS = {"Threshold": [(0.0, 0.0)], "GELU": [(), ("tanh",)], "Softmax": [(-1,)], "Softmin": [(-1,)],
             "LogSoftmax": [(-1,)]}
LOSSES = torch.nn.modules.loss.__all__


def modules(only: list[str] | None) -> Iterator[tuple[str, bool, torch.nn.Module, torch.nn.Module]]:
    """Each pair, with its name and whether `patch` replaces it."""
    for kind, ours in MODULES.items():
        for arguments in ARGUMENTS.get(kind.__name__, [()]):
            name = kind.__name__ + "".join(f" {one}" for one in arguments if isinstance(one, str))
            if only is None or kind.__name__ in only:
                replaced = bool(fastact.torch.patch(torch.nn.Sequential(kind(*arguments))).replaced)
                yield name, replaced, kind(*arguments), ours(*arguments)


def inputs(name: str, elements: int, dtype: torch.dtype) -> list[torch.Tensor]:
    x = torch.randn(elements // ROW, ROW).to(dtype)
    if name == "Softmax2d":
        x = x.reshape(-1, 10, 1, ROW // 10)
    if name == "CrossEntropyLoss":
        return [x, torch.randint(ROW, (len(x),))]
    return [x, torch.rand_like(x).round()] if name in LOSSES else [x]


def ratios(theirs: torch.nn.Module, ours: torch.nn.Module, given: list[torch.Tensor]) -> Iterator[float]:
    def forward(module: torch.nn.Module) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return module(*given)
        return run

    def both(module: torch.nn.Module) -> Callable[[], object]:
        x = given[0].clone().requires_grad_()
        leaves = [x, *module.parameters()]
        dy = torch.ones_like(module(x, *given[1:]))
        return lambda: torch.autograd.grad(module(x, *given[1:]), leaves, dy)

    for way in (forward, both):
        slow, fast = seconds(way(theirs), way(ours))
        yield slow / fast


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    columns = [(threads, dtype) for threads in options.threads for dtype in options.dtypes]
    print(f"{options.elements:,} elements, PyTorch {torch.__version__}; forward, forward and backward")
    print(f"{'':20} default" + "".join(f"{f'{dtype}, {threads}':>15}" for threads, dtype in columns))
    for name, replaced, theirs, ours in modules(options.only):
        found = []
        for threads, dtype in columns:
            torch.set_num_threads(threads)
            kind = getattr(torch, dtype)
            given = inputs(name, options.elements, kind)
            found.append([*ratios(theirs.to(kind), ours.to(kind), given)])
        faster = all(one > 1 for one in found[0])
        note = "" if faster == replaced else "  faster" if faster else "  slower"
        figures = "".join(f"{forward:8.2f}{both:7.2f}" for forward, both in found)
        print(f"{name:20} {'yes' if replaced else '-':7}{figures}{note}", flush=True)


if __name__ == "__main__":
    main()
