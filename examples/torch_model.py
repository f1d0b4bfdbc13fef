"""A network of PyTorch with mish, as it is and with the activations of fastact.

    pip install -e '.[torch]' && python examples/torch_model.py

`fastact.torch.patched` is all that differs: the data, the first weights and the order of the batches are the same. The
example checks that the gradients are, and that both networks learn to tell the arms of a spiral apart.
"""

import time
from contextlib import nullcontext

try:
    import torch
except ModuleNotFoundError:
    raise SystemExit("this example needs PyTorch, which is not installed: pip install -e '.[torch]'") from None

import fastact.torch

ROUNDS, STEPS, BATCH, ARMS = 2, 60, 2000, 3
GRADIENTS, LOSSES = 1e-12, 1e-3  # by how much they may differ


def spirals(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on the arms of a spiral, and the arm of each."""
    random = torch.Generator().manual_seed(seed)
    arm = torch.randint(ARMS, (count,), generator=random)
    radius = torch.rand(count, generator=random)
    angle = 4 * radius + 2 * torch.pi * arm / ARMS + 0.1 * torch.randn(count, generator=random)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), arm


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 256), torch.nn.Mish(), torch.nn.Linear(256, 256), torch.nn.Mish(),
                               torch.nn.Linear(256, ARMS))


def gradients(model: torch.nn.Module) -> list[torch.Tensor]:
    x, arm = spirals(100, seed=2)
    model.zero_grad()
    torch.nn.functional.cross_entropy(model(x.double()), arm).backward()
    return [weight.grad.clone() for weight in model.parameters()]


def train(model: torch.nn.Module) -> float:
    """Return the loss after the last step."""
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for step in range(STEPS):
        x, arm = spirals(BATCH, seed=step + 3)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), arm)
        loss.backward()
        optimizer.step()
    return loss.item()


def main() -> None:
    model = network().double()
    theirs = gradients(model)
    with fastact.torch.patched(model) as report:
        ours = gradients(model)
    print(f"replaced: {', '.join(f'{name} ({kind})' for name, kind in report.replaced)}")
    differ = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(theirs, ours, strict=True))
    print(f"gradients: they differ by {differ:.1e} of the largest at most, allowed is {GRADIENTS:g}")

    new, arms = spirals(20_000, seed=1)
    best: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, way in (("PyTorch", nullcontext), ("fastact", fastact.torch.patched)):
            model = network()
            with way(model), torch.random.fork_rng():
                start = time.perf_counter()
                loss = train(model)
                trained = time.perf_counter()
                with torch.inference_mode():
                    right = float((model(new).argmax(1) == arms).float().mean())
                seconds = trained - start, time.perf_counter() - trained
            best[name] = [loss, right, *map(min, seconds, best.get(name, [0, 0, *seconds])[2:])]
    for name, (loss, right, training, inference) in best.items():
        print(f"{name}: {STEPS} steps in {training:.3f} s, loss {loss:.4f}; {len(new):,} points in "
              f"{1000 * inference:.1f} ms, {right:.1%} right")
    if differ > GRADIENTS or abs(best["PyTorch"][0] - best["fastact"][0]) > LOSSES:
        raise SystemExit("the results differ by more than is allowed")


if __name__ == "__main__":
    main()
