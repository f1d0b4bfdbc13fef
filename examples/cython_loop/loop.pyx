# cython: boundscheck=False, wraparound=False
"""The loop of examples/numba_loop.py in Cython, without the GIL."""

from fastact.capi cimport FASTACT_DONE, FASTACT_FLOAT32, fastact_operation, fastact_rows, fastact_run

cdef const void* gelu = fastact_operation(b"gelu", b"value", FASTACT_FLOAT32)
cdef const void* softmax = fastact_operation(b"softmax", b"value", FASTACT_FLOAT32)


def advance(float[:, ::1] states, const float[:, :, ::1] inputs, float decay):
    """Replace each state, once for each of its inputs, by the softmax of gelu of the decayed state and the input.

    The states have the shape [sequences, width], the inputs [sequences, steps, width].
    """
    cdef Py_ssize_t k, step, i, width = states.shape[1]
    cdef void* operands[2]
    cdef int status = FASTACT_DONE
    with nogil:
        for k in range(states.shape[0]):
            operands[0] = operands[1] = &states[k, 0]       # in place
            for step in range(inputs.shape[1]):
                for i in range(width):
                    states[k, i] = states[k, i] * decay + inputs[k, step, i]
                status |= fastact_run(gelu, operands, width, NULL)
                status |= fastact_rows(softmax, operands, 1, width, 1, NULL)
    if status != FASTACT_DONE:
        raise RuntimeError(f"fastact returned the status {status}")
