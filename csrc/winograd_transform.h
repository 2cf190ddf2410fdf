/* winograd_transform.h: the transforms of winograd.h and winograd_dw.h, of VL channels or outputs at a time.
 *
 *     of        by                  from -> to, along one axis      for 3 taps, for 2
 *     source    B^T d B             patch -> products               6 -> 6    5 -> 5
 *     weights   G w G^T             taps -> products                3 -> 6    2 -> 5
 *     products  A^T m A             products -> outputs             6 -> 4    5 -> 4
 *     dy        A dy A^T            outputs -> products             4 -> 6    4 -> 5
 *     sums      G^T m G             products -> taps                6 -> 3    5 -> 2
 *
 * Each is two rounds of a transform of columns, the second along the rows.
 */

/* Call transform(..., taps) with a constant, which leaves no branch in it. */
#define FD_WITH_TAPS(transform, taps, ...) \
    do {                                   \
        if ((taps) == 3) {                 \
            transform(__VA_ARGS__, 3);     \
        } else {                           \
            transform(__VA_ARGS__, 2);     \
        }                                  \
    } while (0)

/* B^T d for one column of taps + 3, pitch apart. */
FD_INLINE void FD(transform_source)(V *d, int pitch, int taps) {
    const V d0 = d[0], d1 = d[pitch], d2 = d[2 * pitch], d3 = d[3 * pitch], d4 = d[4 * pitch];
    const V c2 = vset1(2), c4 = vset1(4), c5 = vset1(5);
    if (taps == 3) {
        const V d5 = d[5 * pitch];
        const V even = vfma(-c4, d2, d4), odd = vfma(-c4, d1, d3), a = d4 - d2, b = c2 * (d3 - d1);
        d[0] = vfma(c4, d0, vfma(-c5, d2, d4));
        d[pitch] = even + odd;
        d[2 * pitch] = even - odd;
        d[3 * pitch] = a + b;
        d[4 * pitch] = a - b;
        d[5 * pitch] = vfma(c4, d1, vfma(-c5, d3, d5));
    } else {
        const V outer = d3 - d1, inner = d3 - d2;
        d[0] = vfma(c2, d0 - d2, outer);
        d[pitch] = vfma(-c2, d1, inner);
        d[2 * pitch] = vfma(c2, d1 - d2, inner);
        d[3 * pitch] = outer;
        d[4 * pitch] = vfma(-c2, outer, d4 - d2);
    }
}

/* to[e * step] = (B^T d B)[e] for VL channels of a tile, whose rows and pixels lie so far apart. */
FD_INLINE void FD(transform_source_tile)(T *to, int64_t step, const T *d, int64_t row, int64_t pixel, int taps) {
    const int size = taps + 3;
    V all[36];
#pragma GCC unroll 6
    for (int i = 0; i < size; i++)
#pragma GCC unroll 6
        for (int j = 0; j < size; j++) all[size * i + j] = vload(d + i * row + j * pixel);
#pragma GCC unroll 6
    for (int j = 0; j < size; j++) FD(transform_source)(all + j, size, taps);
#pragma GCC unroll 6
    for (int i = 0; i < size; i++) FD(transform_source)(all + size * i, 1, taps);
#pragma GCC unroll 36
    for (int e = 0; e < size * size; e++) vstore(to + e * step, all[e]);
}

/* A y for one column of 4, pitch apart, into taps + 3. */
FD_INLINE void FD(transform_gradient)(V *out, int out_pitch, const V *y, int pitch, int taps) {
    const V y0 = y[0], y1 = y[pitch], y2 = y[2 * pitch], y3 = y[3 * pitch], c2 = vset1(2), c4 = vset1(4);
    const V even = y0 + y2, odd = y1 + y3, even2 = vfma(c4, y2, y0), odd2 = c2 * vfma(c4, y3, y1);
    out[0] = y0;
    out[out_pitch] = even + odd;
    out[2 * out_pitch] = even - odd;
    out[3 * out_pitch] = even2 + odd2;
    if (taps == 3) out[4 * out_pitch] = even2 - odd2;
    out[(taps + 2) * out_pitch] = y3;
}

/* to[e * step] = (A dy A^T)[e] for VL outputs of a tile, whose rows and pixels lie so far apart. */
FD_INLINE void FD(transform_dy_tile)(T *to, int64_t step, const T *dy, int64_t row, int64_t pixel, int taps) {
    const int size = taps + 3;
    V y[16], half[24], all[36];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) y[i] = vload(dy + i / 4 * row + i % 4 * pixel);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) FD(transform_gradient)(half + j, 4, y + j, 4, taps);
#pragma GCC unroll 6
    for (int i = 0; i < size; i++) FD(transform_gradient)(all + size * i, 1, half + 4 * i, 1, taps);
#pragma GCC unroll 36
    for (int e = 0; e < size * size; e++) vstore(to + e * step, all[e]);
}

/* The tile at (row, column) of an image whose VL channels are neighbours: `size` rows and pixels, zero outside it. What
 * copy_patch does, without its calls for each row, which cost small images 2 to 10 %. */
static void FD(copy_tile)(T *tile, const FD(image) *image, int64_t row, int64_t column, int size) {
    const T *from = image->data + row * image->stride[1] + column * image->stride[2];
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++, tile += VL) {
            const int there =
                row + i >= 0 && row + i < image->size[1] && column + j >= 0 && column + j < image->size[2];
            vstore(tile, there ? vload(from + i * image->stride[1] + j * image->stride[2]) : (V){0});
        }
}

/* tiles[e][tile][channel ...] = the transform of the tiles, of dy or of the source, that begin at (row, column) of an
 * image whose VL channels are neighbours: straight from it, but where they reach beyond it. */
FD_INLINE void FD(transform_tiles)(T *tiles, const FD(image) *image, int64_t row, int64_t column, int64_t rows,
                                   int64_t columns, int64_t step, int64_t channels, int of_dy, int taps) {
    const int size = of_dy ? 4 : taps + 3;
    T tile[36 * VL];
    for (int64_t i = row; i < row + 4 * rows; i += 4)
        for (int64_t j = column; j < column + 4 * columns; j += 4, tiles += channels) {
            const int inside = i >= 0 && j >= 0 && i + size <= image->size[1] && j + size <= image->size[2];
            const T *from = inside ? image->data + i * image->stride[1] + j * image->stride[2] : tile;
            const int64_t down = inside ? image->stride[1] : size * VL, right = inside ? image->stride[2] : VL;
            if (!inside) FD(copy_tile)(tile, image, i, j, size);
            if (of_dy)
                FD(transform_dy_tile)(tiles, step, from, down, right, taps);
            else
                FD(transform_source_tile)(tiles, step, from, down, right, taps);
        }
}

/* G w for one column of taps, pitch apart, into taps + 3. */
FD_INLINE void FD(transform_weight)(V *out, int out_pitch, const V *w, int pitch, int taps) {
    const V w0 = w[0], w1 = w[pitch], sixth = vset1((T)(1.0 / 6));
    if (taps == 3) {
        const V w2 = w[2 * pitch], outer = (w0 + w2) * sixth, inner = w1 * sixth;
        const V wide = vfma(vset1(4), w2, w0) * vset1((T)(1.0 / 24)), half = w1 * vset1((T)(1.0 / 12));
        out[0] = w0 * vset1((T)0.25);
        out[out_pitch] = -(outer + inner);
        out[2 * out_pitch] = inner - outer;
        out[3 * out_pitch] = wide + half;
        out[4 * out_pitch] = wide - half;
        out[5 * out_pitch] = w2;
    } else {
        out[0] = w0 * vset1((T)0.5);
        out[out_pitch] = (w0 + w1) * vset1((T)-0.5);
        out[2 * out_pitch] = (w1 - w0) * sixth;
        out[3 * out_pitch] = vfma(vset1(2), w1, w0) * sixth;
        out[4 * out_pitch] = w1;
    }
}

/* A^T m for one column of taps + 3, into four. */
FD_INLINE void FD(transform_output)(V *out, int out_pitch, const V *m, int pitch, int taps) {
    const V c2 = vset1(2), c4 = vset1(4), c8 = vset1(8);
    const V sum = m[pitch] + m[2 * pitch], difference = m[pitch] - m[2 * pitch];
    const V sum2 = taps == 3 ? m[3 * pitch] + m[4 * pitch] : m[3 * pitch];
    const V difference2 = taps == 3 ? m[3 * pitch] - m[4 * pitch] : m[3 * pitch];
    out[0] = m[0] + sum + sum2;
    out[out_pitch] = vfma(c2, difference2, difference);
    out[2 * out_pitch] = vfma(c4, sum2, sum);
    out[3 * out_pitch] = vfma(c8, difference2, difference) + m[(taps + 2) * pitch];
}

/* y = max(A^T m A + bias, least) for VL outputs of a tile, whose rows and pixels lie so far apart; *check stays 0 if
 * and only if all is finite. */
FD_INLINE void FD(transform_product)(T *y, int64_t row, int64_t pixel, const T *products, int64_t step, V bias, V least,
                                     V *check, int taps) {
    const int size = taps + 3;
    V m[36], half[24], tile[16];
#pragma GCC unroll 36
    for (int e = 0; e < size * size; e++) m[e] = vload(products + e * step);
#pragma GCC unroll 6
    for (int j = 0; j < size; j++) FD(transform_output)(half + j, size, m + j, size, taps);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) FD(transform_output)(tile + 4 * i, 1, half + size * i, 1, taps);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        const V value = tile[i] + bias;
        *check = vfma(value, (V){0}, *check);
        vstore(y + i / 4 * row + i % 4 * pixel, vmax(value, least));
    }
}

/* The same for the tiles that begin at (row, column) of an image whose VL outputs are neighbours, as far as it reaches;
 * `outputs` from one tile to the next in products. Nothing is called: *check stays in a register. */
FD_INLINE void FD(transform_outputs)(T *out, const FD(image) *image, int64_t row, int64_t column, const T *products,
                                     V bias, V least, V *check, int64_t rows, int64_t columns, int64_t step,
                                     int64_t outputs, int taps) {
    const int64_t down = image->stride[1], right = image->stride[2];
    T patch[16 * VL];
    for (int64_t i = row; i < row + 4 * rows; i += 4)
        for (int64_t j = column; j < column + 4 * columns; j += 4, products += outputs) {
            const int64_t height = image->size[1] - i, width = image->size[2] - j;
            T *corner = out + i * down + j * right;
            if (height >= 4 && width >= 4) {
                FD(transform_product)(corner, down, right, products, step, bias, least, check, taps);
                continue;
            }
            FD(transform_product)(patch, 4 * VL, VL, products, step, bias, least, check, taps);
            for (int64_t k = 0; k < 4 && k < height; k++)
                for (int64_t l = 0; l < 4 && l < width; l++)
                    vstore(corner + k * down + l * right, vload(patch + (4 * k + l) * VL));
        }
}

/* G^T m for one column of taps + 3, into taps. */
FD_INLINE void FD(transform_sum)(V *out, int out_pitch, const V *m, int pitch, int taps) {
    const V m0 = m[0], m1 = m[pitch], m2 = m[2 * pitch], m3 = m[3 * pitch], m4 = m[4 * pitch];
    const V sixth = vset1((T)(1.0 / 6));
    if (taps == 3) {
        const V inner = (m1 + m2) * sixth, outer = m3 + m4;
        out[0] = vfma(vset1((T)0.25), m0, vfma(vset1((T)(1.0 / 24)), outer, -inner));
        out[out_pitch] = vfma(vset1((T)(1.0 / 12)), m3 - m4, (m2 - m1) * sixth);
        out[2 * out_pitch] = vfma(sixth, outer, m[5 * pitch] - inner);
    } else {
        out[0] = vfma(vset1((T)0.5), m0 - m1, (m3 - m2) * sixth);
        out[out_pitch] = vfma(vset1((T)-0.5), m1, vfma(vset1(2), m3, m2) * sixth) + m4;
    }
}

/* part[tap][c] = (G^T m G)[tap] for `channels` channels in whole vectors, those of sums[e]. */
FD_INLINE void FD(transform_sums)(T *part, int64_t wide, const T *sums, int64_t step, int64_t channels, int taps) {
    const int size = taps + 3;
    for (int64_t c = 0; c < channels; c += VL) {
        V m[36], half[18], w[9];
#pragma GCC unroll 36
        for (int e = 0; e < size * size; e++) m[e] = vload(sums + e * step + c);
#pragma GCC unroll 6
        for (int j = 0; j < size; j++) FD(transform_sum)(half + j, size, m + j, size, taps);
#pragma GCC unroll 3
        for (int i = 0; i < taps; i++) FD(transform_sum)(w + taps * i, 1, half + size * i, 1, taps);
#pragma GCC unroll 9
        for (int i = 0; i < taps * taps; i++) vstore(part + i * wide + c, w[i]);
    }
}
