"""The only loops over elements, compiled into the kernels of each instruction set.

    elementwise.pxd  a formula over a block: value, derivative, backward, with one or two inputs and outputs
    losses.pxd       a loss of single logits over a block: two inputs, four numbers, one result or two
    rows.pxd         terms, sums and results along contiguous rows
    columns.pxd      the same down columns side by side, with the same bits
    masking.pxd      entries that take no part, and a bias
    weights.pxd      what sampling reads of a row: weights of its entries, maxima and sums of its blocks
    sampling.pxd     filters, and the index that is drawn
    sums.pxd, .h     exact sums
    packing.h        16-bit numbers to float and back
    transpose.h      short rows to columns and back
    lanes.h          prefetching, sums over the lanes of vectors

A formula arrives as a constant and is inlined, so that each kernel is a loop of packed arithmetic. The loops know no
threads, and no array that is not contiguous (or columns side by side), aligned and a multiple of a vector.
"""
