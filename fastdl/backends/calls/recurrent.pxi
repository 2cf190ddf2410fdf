# Recurrences over whole sequences.


cdef int unpack_rnn(fd_rnn *r, object plan, int kind) except -1:
    r.batch, r.steps, r.features, r.units = plan.batch, plan.steps, plan.features, plan.units
    r.kind, r.reverse = kind, plan.reverse
    return 0


def rnn_fwd(
    hs,          # OUT
    h,           # OUT
    c,           # OUT or None
    previous,    # OUT or None
    gates,       # OUT or None
    previous_c,  # OUT or None
    x,           # IN
    w_x,         # IN
    b,           # IN or None
    h0,          # IN
    c0,          # IN or None
    w_h,         # IN
    b_h,         # IN or None
    peepholes,   # IN or None
    mask,        # IN or None
    lengths,     # IN or None: int64
    plan, int kind, int threads,
):
    cdef Kernels kernels = kernels_of(hs)
    cdef fd_rnn sizes
    cdef Out hs_out = output(hs), h_out = output(h), c_out = optional_output(c)
    cdef Out previous_out = optional_output(previous), gates_out = optional_output(gates)
    cdef Out previous_c_out = optional_output(previous_c)
    cdef In x_in = input(x), w_x_in = input(w_x), b_in = input(b)
    cdef In h0_in = input(h0), c0_in = input(c0), w_h_in = input(w_h), b_h_in = input(b_h)
    cdef In peepholes_in = input(peepholes), mask_in = input(mask), lengths_in = input(lengths)
    unpack_rnn(&sizes, plan, kind)
    with nogil:
        finish(kernels.rnn_fwd(
            hs_out, h_out, c_out, previous_out, gates_out, previous_c_out, x_in, w_x_in, b_in, h0_in, c0_in,
            w_h_in, b_h_in, peepholes_in, mask_in, <const int64_t *> lengths_in, &sizes, threads
        ))


def rnn_bwd(
    dz,          # OUT
    ds,          # OUT or None
    dh0,         # OUT
    dc0,         # OUT or None
    dhs,         # IN or None
    dh,          # IN or None
    dc,          # IN or None
    previous,    # IN
    gates,       # IN
    previous_c,  # IN or None
    w_h,         # IN
    peepholes,   # IN or None
    mask,        # IN or None
    lengths,     # IN or None: int64
    plan, int kind, int threads,
):
    cdef Kernels kernels = kernels_of(dz)
    cdef fd_rnn sizes
    cdef Out dz_out = output(dz), ds_out = optional_output(ds)
    cdef Out dh0_out = output(dh0), dc0_out = optional_output(dc0)
    cdef In dhs_in = input(dhs), dh_in = input(dh), dc_in = input(dc), previous_in = input(previous)
    cdef In gates_in = input(gates), previous_c_in = input(previous_c), w_h_in = input(w_h)
    cdef In peepholes_in = input(peepholes), mask_in = input(mask), lengths_in = input(lengths)
    unpack_rnn(&sizes, plan, kind)
    with nogil:
        finish(kernels.rnn_bwd(
            dz_out, ds_out, dh0_out, dc0_out, dhs_in, dh_in, dc_in, previous_in, gates_in, previous_c_in, w_h_in,
            peepholes_in, mask_in, <const int64_t *> lengths_in, &sizes, threads
        ))
