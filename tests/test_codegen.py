"""The disassembly of the kernels: packed arithmetic of the set's own width, and no calls but for limits.

What vectorises is decided by the compiler; a formula that it leaves scalar still gives right results, some ten times
slower, and only this test would notice.
"""

import collections
import functools
import importlib.util
import itertools
import platform
import re
import shutil
import subprocess

import pytest
from common import ELEMENTWISE, each

from fastact import _isa, _threads, sigmoid_losses

REGISTER = {name: one.register for name, one in _isa.SETS.items()}
CHOICES = ("relu", "leaky_relu", "threshold", "hard_tanh", "hard_shrink", "soft_shrink", "sparse", "identity",
           "prelu", "exp_backward_from_output", "xielu_backward_beta", "xielu_backward_alpha_p")  # little arithmetic
# Element by element these have branches in which most operations stand twice; that of logit computes the limits of its
# parameter before each loop, as single numbers, and hard_sigmoid on v2 its line in double.
BRANCHES = {"squareplus_derivative": 0.4, "squareplus_backward": 0.4, "xielu": 0.4, "hard_sigmoid_backward": 0.5,
            "softsign_value": 0.5, "logit_backward_from_output": 0.45}
ARITHMETIC = re.compile(r"^v?(add|sub|mul|div|fn?m(?:add|sub))\d*([sp][sd])$")
CONVERSION = re.compile(r"^v?cvt([sp][sd]2[sp][sd])$")

pytestmark = [
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="what is read here is x86-64 code"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed"),
]


@functools.cache
def disassembly(module):
    library = importlib.util.find_spec(f"fastact.{module}").origin
    return subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True,
                          check=True).stdout


@functools.cache
def functions(isa):
    """Instructions, as (mnemonic, operands), of each function in the kernels of one set."""
    module = _isa.SETS[isa].module
    text = disassembly(f"_kernels.{module}")
    head = re.compile(rf"<__pyx_f_7fastact_8_kernels_{len(module)}{module}_(\w+)(?:\.\w+)*>:$")
    found = {}
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if lines and (name := head.search(lines[0])):
            instructions = [line.split("\t", 1)[1].partition(" ") for line in lines if "\t" in line]
            found[name[1]] = [(mnemonic.strip(), operands.strip()) for mnemonic, _, operands in instructions]
    if not found:
        pytest.skip("the kernels were stripped of their symbols")
    for name, code in found.items():  # of equal functions the compiler keeps one, and the others jump there
        if code and code[0][0] == "jmp" and (target := re.search(rf"{module}_(\w+)>$", code[0][1])):
            found[name] = found[target[1]]
    return found


@pytest.mark.parametrize("isa", _isa.BUILT)
@each("f", ELEMENTWISE)
def test_elementwise_kernels_are_packed(f, isa):
    """The compiler writes each loop twice: packed, and element by element should arrays overlap (they never do)."""
    for mode in f.ufuncs:
        for dtype in "float", "double":
            kernel = f"{f.name}_{mode}_{dtype}"
            is_packed(kernel, functions(isa)[kernel], isa)


@pytest.mark.parametrize("isa", _isa.BUILT)
@pytest.mark.parametrize("name", [*sigmoid_losses.LOSSES, "sigmoid_cross_entropy_hessian"])
def test_kernels_of_losses_are_packed(name, isa):
    for mode, dtype in itertools.product(("first", "both"), ("float", "double")):
        kernel = f"{name}_{mode}_{dtype}"
        is_packed(kernel, functions(isa)[kernel], isa)


def is_packed(kernel, code, isa):
    packed, single = ({"float": "ps", "double": "pd"}[kernel.rpartition("_")[2]].replace("p", kind) for kind in "ps")
    count = collections.Counter()
    for mnemonic, operands in code:
        if arithmetic := ARITHMETIC.match(mnemonic):
            operation, suffix = arithmetic.groups()
            assert suffix in (packed, single) or isa == "v2", f"{kernel}, {mnemonic}: of the other dtype"
            if suffix != packed or REGISTER[isa] in operands:
                count[operation, suffix] += 1
    total = {kind: sum(n for (_, suffix), n in count.items() if suffix == kind) for kind in (packed, single)}
    assert any(REGISTER[isa] in operands for _, operands in code), kernel
    share = 0.5 if kernel.startswith(CHOICES) else 0.7
    share = next((share for name, share in BRANCHES.items() if kernel.startswith(name)), share)
    # One less: the compiler merges constants.
    assert total[packed] + 1 >= share * total[single], f"{kernel}: some of it is not packed"
    assert total[packed] >= (0 if kernel.startswith(CHOICES) else 2), (
        f"{kernel}: not even two operations are packed; if it has none, write its name into CHOICES in this file")
    for operation in ("div", "fmadd"):  # the copy element by element has branches, which may repeat an operation
        assert bool(count[operation, packed]) >= bool(count[operation, single]), f"{kernel}: {operation} is not packed"
        assert count[operation, packed] + 1 >= share * count[operation, single], f"{kernel}: {operation} is not packed"
    if isa != "v2":  # its softplus(beta) computes in double what a product lost
        assert [mnemonic for mnemonic, _ in code if CONVERSION.match(mnemonic)] == [], kernel
    if not kernel.startswith("identity_value"):  # a copy is memmove's
        calls = [operands for mnemonic, operands in code if mnemonic.startswith("call")]
        assert [one for one in calls if "<fastact_hidden_" not in one] == [], kernel        # limits, see _math/bits.h


@pytest.mark.parametrize("isa", _isa.BUILT)
@pytest.mark.parametrize("loop", ["unpack_float16", "pack_float16", "unpack_bfloat16", "pack_bfloat16"])
def test_conversions_of_16_bits_are_packed(loop, isa):
    code = functions(isa)[loop]
    assert [one for one in code if one[0].startswith("call")] == []
    if loop.endswith("_float16") and isa != "v2":
        converted = {"unpack_float16": "vcvtph2ps", "pack_float16": "vcvtps2ph"}[loop]
        assert any(mnemonic == converted and REGISTER[isa] in operands for mnemonic, operands in code)
    else:  # integer arithmetic on whole registers
        assert any(re.match(r"v?p(add|sub|sll|srl|unpck|mov[sz]x)", mnemonic) and REGISTER[isa] in operands
                   for mnemonic, operands in code)


@pytest.mark.parametrize("isa", _isa.BUILT)
def test_no_kernel_calls_python(isa):
    """A kernel of rows may call its own parts, and copy and clear memory."""
    kernels = {name for name in functions(isa) if name.endswith(("_float", "_double"))}
    assert {"rows_maximum_float", "columns_maximum_double"} <= kernels
    for kernel in kernels:
        for name, operands in functions(isa)[kernel]:
            if name.startswith(("call", "jmp")) and "@plt" in operands:
                assert re.search(r"<mem(cpy|move|set)@plt>", operands), (kernel, operands)


@pytest.mark.parametrize("isa", [isa for isa in _isa.BUILT if isa in ("v3", "v4")])
@pytest.mark.parametrize("kernel", ["rows_accumulate_exponentials_float", "rows_accumulate_exponentials_store_double",
                                    "rows_accumulate_others_float", "columns_accumulate_exponentials_float"])
def test_exponentials_of_rows_are_packed(kernel, isa):
    fused = [operands for name, operands in functions(isa)[kernel] if "fmadd" in name]
    assert sum(REGISTER[isa] in operands for operands in fused) >= 5, fused


@pytest.mark.parametrize(
    "module", [*_threads.COMPILED, *(f"_kernels.{_isa.SETS[isa].module}" for isa in _isa.BUILT[1:])])
def test_no_frame_on_the_stack_is_large(module):
    """24 KiB at most, of stacks that may have 64; what is inlined counts in the function around it."""
    made = re.compile(r"^(.*)<(\S+)>:$|\t(?:sub +\$|lea +-)(0x[0-9a-f]+)(?:,%rsp|\(%rsp\),%r11)$", re.MULTILINE)
    frames, name = {}, ""
    for _, head, size in made.findall(disassembly(module)):
        name = head or name
        bytes_of_frame = int(size or "0", 16)           # one of 128 is made by subtracting -128
        frames[name] = max(frames.get(name, 0), bytes_of_frame if bytes_of_frame < 2**63 else 2**64 - bytes_of_frame)
    assert max(frames.values()) > (100 if module.startswith("_kernels") else 0)
    assert {name: size for name, size in frames.items() if size > 24 << 10} == {}
