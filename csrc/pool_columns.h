/* pool_columns.h: every second column of a row, for windows that are two apart. */

/* The left, and the right, of neighbouring columns. */
FD_INLINE V FD(left_columns)(V a, V b) {
#if VL == 16
    return VSHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif VL == 8
    return VSHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#elif VL == 4
    return VSHUFFLE(a, b, 0, 2, 4, 6);
#else
    return VSHUFFLE(a, b, 0, 2);
#endif
}

FD_INLINE V FD(right_columns)(V a, V b) {
#if VL == 16
    return VSHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VL == 8
    return VSHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#elif VL == 4
    return VSHUFFLE(a, b, 1, 3, 5, 7);
#else
    return VSHUFFLE(a, b, 1, 3);
#endif
}

/* The columns of windows that are three wide and two apart, each cell loaded once: n windows. */
FD_INLINE void FD(three_columns)(V *column, const T *p, int64_t n) {
    const int64_t low_n = FD(least)(2 * n + 1, VL), high_n = FD(least)(2 * n + 1 - low_n, VL);
    const V low = vload_upto(p, low_n), high = vload_upto(p + VL, high_n), last = vset1(p[2 * n]);
    column[0] = FD(left_columns)(low, high);
    column[1] = FD(right_columns)(low, high);
#if VL == 16
    column[2] = VSHUFFLE(column[0], last, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
#elif VL == 8
    column[2] = VSHUFFLE(column[0], last, 1, 2, 3, 4, 5, 6, 7, 8);
#elif VL == 4
    column[2] = VSHUFFLE(column[0], last, 1, 2, 3, 4);
#else
    column[2] = VSHUFFLE(column[0], last, 1, 2);
#endif
}
