# Activations, PReLU, dropout, gates.


def act_fwd(
    y,  # OUT
    x,  # IN
    int64_t n, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In x_in = input(x)
    with nogil:
        finish(kernels.act_fwd(y_out, x_in, n, act, alpha, threads))


def act_bwd(
    dx,     # OUT
    dy,     # IN
    saved,  # IN or None: x or y, as the activation needs
    int64_t n, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), saved_in = input(saved)
    with nogil:
        finish(kernels.act_bwd(dx_out, dy_in, saved_in, n, act, alpha, threads))


def prelu_fwd(
    y,      # OUT
    x,      # IN
    slope,  # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In x_in = input(x), slope_in = input(slope)
    with nogil:
        finish(kernels.prelu_fwd(y_out, x_in, slope_in, outer, channels, inner, threads))


def prelu_bwd(
    dx,      # OUT
    dslope,  # OUT
    dy,      # IN
    x,       # IN
    slope,   # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx), dslope_out = output(dslope)
    cdef In dy_in = input(dy), x_in = input(x), slope_in = input(slope)
    with nogil:
        finish(kernels.prelu_bwd(dx_out, dslope_out, dy_in, x_in, slope_in, outer, channels, inner, threads))


def dropout_fwd(
    y,      # OUT
    mask,   # OUT: uint8
    x,      # IN
    noise,  # IN: float32
    int64_t n, double rate, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y), mask_out = output(mask)
    cdef In x_in = input(x), noise_in = input(noise)
    with nogil:
        finish(kernels.dropout_fwd(
            y_out, <uint8_t *> mask_out, x_in, <const float *> noise_in, n, rate, threads
        ))


def dropout_bwd(
    dx,    # OUT
    dy,    # IN
    mask,  # IN: uint8
    int64_t n, double rate, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), mask_in = input(mask)
    with nogil:
        finish(kernels.dropout_bwd(dx_out, dy_in, <const uint8_t *> mask_in, n, rate, threads))


def gate_fwd(
    y,       # OUT or None
    closed,  # OUT: bool
    x,       # IN
    int64_t n, int threads,
):
    cdef Kernels kernels = kernels_of(x)
    cdef Out y_out = optional_output(y), closed_out = output(closed)
    cdef In x_in = input(x)
    with nogil:
        finish(kernels.gate_fwd(y_out, <uint8_t *> closed_out, x_in, n, threads))


def gate_bwd(
    dy,      # IN and OUT
    closed,  # IN: bool
    int64_t n, int threads,
):
    cdef Kernels kernels = kernels_of(dy)
    cdef Out dy_out = output(dy)
    cdef In closed_in = input(closed)
    with nogil:
        finish(kernels.gate_bwd(dy_out, <const uint8_t *> closed_in, n, threads))
