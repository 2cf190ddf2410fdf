# One step of an optimizer.


def update(
    p,      # IN and OUT
    g,      # IN
    slots,  # IN and OUT: at most three arrays
    rows,   # IN: int64, or None
    int64_t count, int64_t width, int kind, hyper, int threads,
):
    cdef Kernels kernels = kernels_of(p)
    cdef void *slots_out[3]
    cdef double values[8]
    cdef int i
    cdef Out p_out = output(p)
    cdef In g_in = input(g), rows_in = input(rows)
    if len(slots) > 3 or len(hyper) > 8:
        raise ValueError("update takes at most 3 slots and 8 hyperparameters")
    for i in range(len(slots)):
        slots_out[i] = output(slots[i])
    for i in range(len(hyper)):
        values[i] = hyper[i]
    with nogil:
        finish(
            kernels.update(p_out, g_in, slots_out, <const int64_t *> rows_in, count, width, kind, values, threads)
        )
