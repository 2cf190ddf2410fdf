/* algorithm.h: the dispatch of a convolution tells what it chooses, rather than a second list of its rules. */

/* Whether a plan only asks what serves it. The first answer counts: of several tap sums (taps.h) the largest is first.
 */
static int FD(asked)(const fd_conv *p, int64_t algorithm) {
    if (p->asked == NULL) return 0;
    if (*p->asked == FD_NOTHING) *p->asked = algorithm;
    return 1;
}

/* Whether each of n numbers is finite: some algorithms are right only then. */
static int FD(all_finite)(const T *x, int64_t n) {
    V check = {0};
    for (int64_t i = 0; i < n; i += VL) check += vload_upto(x + i, n - i) * (V){0};
    return vsum(check) == 0;
}
