/* algorithm.h: the dispatch of a convolution tells what it chooses, rather than a second list of its rules. */

/* Whether a plan only asks what serves it. The first answer counts: of several tap sums (taps.h) the largest is first.
 */
static int FD(asked)(const fd_conv *p, int64_t algorithm) {
    if (p->asked == NULL) return 0;
    if (*p->asked == FD_NOTHING) *p->asked = algorithm;
    return 1;
}
