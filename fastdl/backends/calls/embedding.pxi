# Rows of a table, and sums into them.


def outside(
    ids,  # IN: int64
    int64_t count, int64_t rows,
):
    """Return the place of the first id that is below 0 or not below rows, else -1."""
    cdef Kernels kernels = kernels_of(ids)
    cdef In ids_in = input(ids)
    cdef int64_t first
    with nogil:
        first = kernels.outside(<const int64_t *> ids_in, count, rows)
    return first


def gather(
    y,      # OUT
    table,  # IN
    ids,    # IN: int64
    int64_t count, int64_t width, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In table_in = input(table), ids_in = input(ids)
    with nogil:
        finish(kernels.gather(y_out, table_in, <const int64_t *> ids_in, count, width, threads))


def scatter_add(
    sum,  # IN and OUT
    dy,   # IN
    ids,  # IN: int64
    int64_t count, int64_t width, int threads,
):
    cdef Kernels kernels = kernels_of(sum)
    cdef Out sum_out = output(sum)
    cdef In dy_in = input(dy), ids_in = input(ids)
    with nogil:
        finish(kernels.scatter_add(sum_out, dy_in, <const int64_t *> ids_in, count, width, threads))
