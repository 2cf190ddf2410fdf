# One step of an optimizer.


def update(
    work,  # (p, g, slots, rows) of each parameter: p IN and OUT, g IN, slots IN and OUT, at most three, rows IN: int64
    int kind, hyper, int threads,
):
    cdef Kernels kernels
    cdef void *slots_out[3]
    cdef double values[8]
    cdef int64_t count, width
    cdef int i
    cdef Out p_out
    cdef In g_in, rows_in
    if len(hyper) > 8:
        raise ValueError("update takes at most 8 hyperparameters")
    for i in range(len(hyper)):
        values[i] = hyper[i]
    for p, g, slots, rows in work:
        if len(slots) > 3:
            raise ValueError("update takes at most 3 slots")
        kernels = kernels_of(p)
        p_out = output(p)
        g_in, rows_in = input(g), input(rows)
        for i in range(len(slots)):
            slots_out[i] = output(slots[i])
        count, width = (1, p.size) if rows is None else g.shape
        with nogil:
            finish(kernels.update(
                p_out, g_in, slots_out, <const int64_t *> rows_in, count, width, kind, values, threads
            ))
