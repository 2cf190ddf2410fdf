/* vmath.h: elementary functions and activations of a whole vector, branch-free and without a library call. */

/* The activation `kind` (FD_LINEAR, ...) of each lane. Called with a constant kind, only that branch is left. */
static inline V FD(vact)(V x, int kind, V alpha) {
    (void)alpha;
    switch (kind) {
    case FD_RELU: return (V)((I)x & ~(I)(x <= (V){0})); /* NaN passes, -0 becomes 0 */
    default: return x;
    }
}
