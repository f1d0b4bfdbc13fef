"""fastact for PyTorch: every activation and loss on tensors in CPU memory, modules, and patches of models.

A function takes one of four ways (_routes.py).

* Plain tensors without a gradient go directly to the kernels (_exchange.pyx), without a frame of Python or an array:
  the C functions of `torch.Tensor.__dlpack_c_exchange_api__` tell where they lie, and PyTorch allocates the result.
* Plain tensors with a gradient go through the cheapest `torch.autograd.Function` (`Differentiated`).
* Under a transform of `torch.func`, and under forward-mode derivatives, a `torch.autograd.Function` with all rules is
  needed (`Transformed`), which costs four times as much.
* `torch.compile` and `torch.export` need an operator of PyTorch, and so do tensors without memory, subclasses and
  modes that have to see every call (`torch.ops.fastact`). An operator has no rule for `torch.func`, and its call costs
  ten times as much as the direct one.

The gradient of each function is an operation of its own (_operations.py), which takes one of the same four ways. Its
own gradient is refused with NotImplementedError: fastact has no second derivatives. Only functions of polynomial pieces
have them, because their gradients are PyTorch's. At a kink every gradient is that of PyTorch, as relu'(0) = 0.

Functions of rows take the masks of fastact as tensors (`bias`, `where`, `lengths`, `causal`, `offset`, `window`); a
bias may have a gradient.

A call uses as many threads as PyTorch: `torch.set_num_threads` is obeyed, and `fastact.set_num_threads` is not.
"""

import torch

from fastact.torch import _exchange, _routes, nn
from fastact.torch._functions import FUNCTIONS
from fastact.torch._operations import OPERATIONS
from fastact.torch._patching import Report, patch, patched, unpatch

try:
    import ml_dtypes
except ImportError:
    pass
else:
    _exchange.set_bfloat16(ml_dtypes.bfloat16)

_exchange.load(torch.Tensor)
_library = _routes.register(OPERATIONS)

globals().update(FUNCTIONS)

__all__ = [*FUNCTIONS, "Report", "nn", "patch", "patched", "unpatch"]
