# The matrix product, and the sum that is a bias's gradient.


def gemm(
    c,      # OUT
    a,      # IN
    b,      # IN
    bias,   # IN or None
    scale,  # IN or None
    int64_t m, int64_t n, int64_t k, bint trans_a, bint trans_b, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(c)
    cdef Out c_out = output(c)
    cdef In a_in = input(a), b_in = input(b), bias_in = input(bias), scale_in = input(scale)
    with nogil:
        finish(kernels.gemm(
            c_out, a_in, b_in, bias_in, scale_in, m, n, k, trans_a, trans_b, act, alpha, threads
        ))


def bias_grad(
    db,  # OUT
    dy,  # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef Kernels kernels = kernels_of(db)
    cdef Out db_out = output(db)
    cdef In dy_in = input(dy)
    with nogil:
        finish(kernels.bias_grad(db_out, dy_in, outer, channels, inner, threads))
