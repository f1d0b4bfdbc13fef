"""ONNX Runtime: graphs in ONNX's own text form, with the inputs x, y, u and dy, and the outputs z and w."""

import re
from typing import Any

import onnxruntime
from onnx import parser

from fastact.comparison.peers.formulas import arrays_in
from fastact.comparison.work import MASKS, Call, Inputs, Library, bind

GRAPHS = {
    ("relu", "value"): "z = Relu (x)",
    ("relu", "derivative"): "t = GreaterOrEqual (x, zero)  z = CastLike (t, x)",
    ("relu", "backward"): "t = GreaterOrEqual (x, zero)  z = Where (t, dy, zero)",
    ("relu", "backward_from_output"): "t = Greater (y, zero)  z = Where (t, dy, zero)",
    ("softplus", "value"): "z = Softplus (x)",
    ("softplus", "derivative"): "z = Sigmoid (x)",
    ("softplus", "value_and_derivative"): "z = Softplus (x)  w = Sigmoid (x)",
    ("softplus", "backward"): "s = Sigmoid (x)  z = Mul (dy, s)",
    ("sigmoid", "value"): "z = Sigmoid (x)",
    ("sigmoid", "derivative"): "s = Sigmoid (x)  t = Sub (one, s)  z = Mul (s, t)",
    ("sigmoid", "value_and_derivative"): "z = Sigmoid (x)  t = Sub (one, z)  w = Mul (z, t)",
    ("sigmoid", "backward"): "s = Sigmoid (x)  t = Sub (one, s)  q = Mul (s, t)  z = Mul (dy, q)",
    ("sigmoid", "backward_from_output"): "t = Sub (one, y)  q = Mul (y, t)  z = Mul (dy, q)",
    ("tanh", "value"): "z = Tanh (x)",
    ("tanh", "derivative"): "t = Tanh (x)  q = Mul (t, t)  z = Sub (one, q)",
    ("tanh", "value_and_derivative"): "z = Tanh (x)  q = Mul (z, z)  w = Sub (one, q)",
    ("tanh", "backward"): "t = Tanh (x)  q = Mul (t, t)  v = Sub (one, q)  z = Mul (dy, v)",
    ("tanh", "backward_from_output"): "q = Mul (y, y)  v = Sub (one, q)  z = Mul (dy, v)",
    ("relu6", "value"): "z = Clip (x, zero, six)",
    ("leaky_relu", "value"): "z = LeakyRelu <alpha = 0.01> (x)",
    ("prelu", "value"): "z = PRelu (x, quarter)",
    ("threshold", "value"): "z = ThresholdedRelu <alpha = 1.0> (x)",
    ("elu", "value"): "z = Elu <alpha = 1.0> (x)",
    ("celu", "value"): "z = Celu <alpha = 1.0> (x)",
    ("selu", "value"): "z = Selu (x)",
    ("gelu", "value"): "z = Gelu (x)",
    ("gelu_tanh", "value"): 'z = Gelu <approximate = "tanh"> (x)',
    ("gelu_quick", "value"): "z = com.microsoft.QuickGelu <alpha = 1.702> (x)",
    ("silu", "value"): "z = Swish <alpha = 1.0> (x)",
    ("swiglu", "value"): "s = Swish <alpha = 1.0> (x)  z = Mul (s, u)",
    ("mish", "value"): "z = Mish (x)",
    ("hard_sigmoid", "value"): "z = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x)",
    ("hard_swish", "value"): "z = HardSwish (x)",
    ("hard_tanh", "value"): "z = Clip (x, minus_one, one)",
    ("softsign", "value"): "z = Softsign (x)",
    ("hard_shrink", "value"): "z = Shrink <bias = 0.0, lambd = 0.5> (x)",
    ("soft_shrink", "value"): "z = Shrink <bias = 0.5, lambd = 0.5> (x)",
    ("erf", "value"): "z = Erf (x)",
    ("exp", "value"): "z = Exp (x)",
    ("exp", "backward_from_output"): "z = Mul (dy, y)",
    ("identity", "value"): "z = Identity (x)",
    ("hardmax", "value"): "z = Hardmax <axis = AXIS> (x)",
    ("softmax", "value"): "z = Softmax <axis = AXIS> (x)",
    ("softmax", "backward_from_output"): "t = Mul (dy, y)  s = ReduceSum (t, axes)  q = Sub (dy, s)  z = Mul (y, q)",
    **{("softmax", mask): "t = Add (x, additive)  z = Softmax <axis = AXIS> (t)" for mask in MASKS},
    ("log_softmax", "value"): "z = LogSoftmax <axis = AXIS> (x)",
    ("log_softmax", "backward_from_output"): ("s = ReduceSum (dy, axes)  e = Exp (y)  t = Mul (e, s)  z = Sub (dy, t)"),
    ("logsumexp", "value"): "z = ReduceLogSumExp <keepdims = 0> (x, axes)",
}


def load() -> Library:
    return Library(onnxruntime.__version__, GRAPHS, build)


def build(graph: str, inputs: Inputs, out: Any) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = inputs.threads, 1
    session = onnxruntime.InferenceSession(model(graph, inputs), options, providers=["CPUExecutionProvider"])
    arguments = arrays_in(graph, inputs)
    if out is None:
        return bind(session.run, None, arguments)
    # Only a binding writes into a given array. (A binding that leaves the output to the runtime is not the form
    # "fresh": it fills the same buffer at every call.)
    binding = session.io_binding()
    for name, array in arguments.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for name, array in zip("zw", out if isinstance(out, tuple) else (out,), strict=False):
        binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    return bind(session.run_with_iobinding, binding)


def model(graph: str, inputs: Inputs) -> bytes:
    """The graph with its declarations, serialized."""
    kind = {"float32": "float", "float64": "double"}.get(inputs.work.dtype, inputs.work.dtype)
    arguments = ", ".join(f"{kind}{list(array.shape)} {name}" for name, array in arrays_in(graph, inputs).items())
    results = ", ".join(f"{kind}[] {name}" for name in ("z", "w") if f"{name} =" in graph)
    numbers = {"zero": 0, "one": 1, "minus_one": -1, "six": 6, "quarter": 0.25}
    constants = [(kind, name, value) for name, value in numbers.items()] + [("int64[1]", "axes", inputs.axis)]
    declared = ", ".join(
        f"{type_} {name} = {{{value}}}" for type_, name, value in constants if re.search(rf"\b{name}\b", graph)
    )
    body = graph.replace("AXIS", str(inputs.axis))
    # The older versions of the operators where they suffice: ONNX Runtime has more of them in double.
    opset = 24 if "= Gelu" in graph or "= Swish" in graph else 18
    versions = f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>'
    text = f"{versions} work ({arguments}) => ({results}) <{declared}> {{{body}}}"
    return bytes(parser.parse_model(text).SerializeToString())
