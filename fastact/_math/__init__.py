"""The mathematics of one number and of one row: pages to read, compiled into the kernels of each instruction set.

    primitives.pxd   exp, expm1, the logistic function, log1p(exp): float and double, without branches
    bits.h           multiply-add in one rounding, the bits of a number
    formulas.pxd     every elementwise activation: value, derivative, derivative from the output; which are gated
    tables.h         float functions that AVX-512 looks up, a vector at a time
    softmax.pxd      the softmax family: each operation with its formulas and its list of steps
    softmax_losses.pxd   the same of the losses of softmax
    divergences.pxd  the same of the entropy and the divergence of softmax
    sigmoid_losses.pxd   losses of single logits, with their derivatives
    entmax.pxd, candidates.h   sparsemax, entmax15 and their losses; the entries that are in question
    sampling.pxd     the weights of the entries that an index is sampled from; numbers in their order
    row_state.pxd    what the steps of a row operation hand to each other

It knows no arrays, strides, threads or instruction sets. tools/kernels.py finds the functions by their names.
"""
