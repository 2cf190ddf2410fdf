# Softmax, its cross-entropy, and losses element by element.


def softmax_fwd(
    y,  # OUT
    x,  # IN
    int64_t outer, int64_t n, int64_t inner, bint log, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In x_in = input(x)
    with nogil:
        finish(kernels.softmax_fwd(y_out, x_in, outer, n, inner, log, threads))


def softmax_bwd(
    dx,  # OUT
    dy,  # IN
    y,   # IN
    int64_t outer, int64_t n, int64_t inner, bint log, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), y_in = input(y)
    with nogil:
        finish(kernels.softmax_bwd(dx_out, dy_in, y_in, outer, n, inner, log, threads))


def softmax_xent_fwd(
    losses,  # OUT
    probs,   # OUT or None
    logits,  # IN
    labels,  # IN or None: int64
    target,  # IN or None
    double smoothing, int64_t rows, int64_t n, int threads,
):
    cdef Kernels kernels = kernels_of(losses)
    cdef Out losses_out = output(losses), probs_out = optional_output(probs)
    cdef In logits_in = input(logits), labels_in = input(labels), target_in = input(target)
    with nogil:
        finish(kernels.softmax_xent_fwd(
            losses_out, probs_out, logits_in, <const int64_t *> labels_in, target_in, smoothing, rows, n, threads
        ))


def softmax_xent_bwd(
    dlogits,  # OUT
    probs,    # IN
    labels,   # IN or None: int64
    target,   # IN or None
    scale,    # IN
    double smoothing, int64_t rows, int64_t n, int threads,
):
    cdef Kernels kernels = kernels_of(dlogits)
    cdef Out dlogits_out = output(dlogits)
    cdef In probs_in = input(probs), scale_in = input(scale)
    cdef In labels_in = input(labels), target_in = input(target)
    with nogil:
        finish(kernels.softmax_xent_bwd(
            dlogits_out, probs_in, <const int64_t *> labels_in, target_in, scale_in, smoothing, rows, n, threads
        ))


def loss_fwd(
    loss,    # OUT
    pred,    # IN
    target,  # IN
    int64_t n, int kind, double param, int threads,
):
    cdef Kernels kernels = kernels_of(loss)
    cdef Out loss_out = output(loss)
    cdef In pred_in = input(pred), target_in = input(target)
    with nogil:
        finish(kernels.loss_fwd(loss_out, pred_in, target_in, n, kind, param, threads))


def loss_bwd(
    dpred,   # OUT
    pred,    # IN
    target,  # IN
    int64_t n, int kind, double param, int threads,
):
    cdef Kernels kernels = kernels_of(dpred)
    cdef Out dpred_out = output(dpred)
    cdef In pred_in = input(pred), target_in = input(target)
    with nogil:
        finish(kernels.loss_bwd(dpred_out, pred_in, target_in, n, kind, param, threads))


def loss_sum(
    pred,    # IN
    target,  # IN or None
    int64_t n, int kind, double param, int threads,
):
    """Return the sum of all losses, of pred itself where there is no target."""
    cdef Kernels kernels = kernels_of(pred)
    cdef In pred_in = input(pred), target_in = input(target)
    cdef double total
    with nogil:
        finish(kernels.loss_sum(&total, pred_in, target_in, n, kind, param, threads))
    return total
