/* ahead.h: parts of images that will be written or read, asked for while something else is computed.
 *
 * # Design: a network comes back to an array when no near cache holds it any more. A store into a line that is not
 * there reads it first, and so few stores wait at a time that a layer's outputs take as long as a third of its
 * arithmetic. Products need little of the memory; so they ask for the lines, a few at a time.
 */

typedef struct {
    const T *at;                          /* the next line of a piece, */
    int64_t left, length;                 /* of whose elements so many are left */
    int64_t count[3], pitch[3], index[3]; /* pieces, and elements from one to the next; the nearest last */
    int64_t lines;                        /* asked for at a time */
} FD(ahead);

/* `count` and `pitch` of images, channels, rows and columns, in this order. */
static FD(ahead) FD(ahead_of)(const T *from, const int64_t count[4], const int64_t pitch[4]) {
    static const int of_layout[2][4] = {{0, 1, 2, 3}, {0, 2, 3, 1}};
    const int *order = of_layout[pitch[1] == 1];
    const int any = count[0] > 0 && count[1] > 0 && count[2] > 0 && count[3] > 0;
    FD(ahead) a = {.at = from, .length = (count[order[3]] - 1) * pitch[order[3]] + 1};
    int joined = any; /* what has no gap is one piece */
    for (int i = 2; i >= 0; i--) {
        a.count[i] = count[order[i]];
        a.pitch[i] = pitch[order[i]];
        joined = joined && (a.count[i] == 1 || a.pitch[i] < a.length + LINE);
        if (!joined) continue;
        a.length += (a.count[i] - 1) * a.pitch[i];
        a.count[i] = 1;
    }
    a.left = any ? a.length : 0;
    return a;
}

/* Ask for all of it in so many times. */
static void FD(ask_in)(FD(ahead) *a, int64_t times) {
    const int64_t lines = a->count[0] * a->count[1] * a->count[2] * (a->length / LINE + 1);
    a->lines = FD(ceil_div)(lines, times);
}

FD_INLINE void FD(ask)(FD(ahead) *a, int written) {
    for (int64_t i = 0; i < a->lines && a->left > 0; i++, a->at += LINE, a->left -= LINE) {
        if (written)
            __builtin_prefetch(a->at, 1, 2);
        else
            __builtin_prefetch(a->at, 0, 2);
        if (a->left > LINE) continue;
        a->at += a->left - LINE - a->length; /* back to the piece's beginning, less what the loop adds */
        a->left = 0;
        for (int level = 2; level >= 0; level--) {
            a->at += a->pitch[level];
            if (++a->index[level] < a->count[level]) {
                a->left = a->length + LINE;
                break;
            }
            a->at -= a->index[level] * a->pitch[level];
            a->index[level] = 0;
        }
    }
}
