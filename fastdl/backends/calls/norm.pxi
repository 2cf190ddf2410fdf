# Normalisation: statistics, what is made of them, and the way back.


cdef int unpack_norm(fd_norm *n, object plan) except -1:
    n.blocks, n.outer, n.groups, n.channels, n.inner = plan.split
    n.fixed, n.eps = plan.fixed, plan.eps
    return 0


def norm_stats(
    mean,  # OUT
    var,   # OUT
    x,     # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(mean)
    cdef fd_norm sizes
    cdef Out mean_out = output(mean), var_out = output(var)
    cdef In x_in = input(x)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_stats(mean_out, var_out, x_in, &sizes, threads))


def norm_apply(
    y,      # OUT
    x,      # IN
    mean,   # IN
    var,    # IN
    gamma,  # IN
    beta,   # IN
    plan, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_norm sizes
    cdef Out y_out = output(y)
    cdef In x_in = input(x), mean_in = input(mean), var_in = input(var)
    cdef In gamma_in = input(gamma), beta_in = input(beta)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_apply(
            y_out, x_in, mean_in, var_in, gamma_in, beta_in, &sizes, act, alpha, threads
        ))


def norm_fwd(
    y,      # OUT
    mean,   # OUT
    var,    # OUT
    x,      # IN
    gamma,  # IN
    beta,   # IN
    plan, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_norm sizes
    cdef Out y_out = output(y), mean_out = output(mean), var_out = output(var)
    cdef In x_in = input(x), gamma_in = input(gamma), beta_in = input(beta)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_fwd(
            y_out, mean_out, var_out, x_in, gamma_in, beta_in, &sizes, act, alpha, threads
        ))


def norm_bwd(
    dx,      # OUT
    dgamma,  # OUT
    dbeta,   # OUT
    dy,      # IN
    x,       # IN
    mean,    # IN
    var,     # IN
    gamma,   # IN
    beta,    # IN
    plan, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_norm sizes
    cdef Out dx_out = output(dx), dgamma_out = output(dgamma), dbeta_out = output(dbeta)
    cdef In dy_in = input(dy), x_in = input(x), mean_in = input(mean), var_in = input(var)
    cdef In gamma_in = input(gamma), beta_in = input(beta)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_bwd(
            dx_out, dgamma_out, dbeta_out, dy_in, x_in, mean_in, var_in, gamma_in, beta_in,
            &sizes, act, alpha, threads
        ))
