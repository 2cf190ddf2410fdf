/* patch.h: padded pieces of an image with the channels innermost, whatever the layout of the image. */

/* One image, or some neighbouring channels of it. */
typedef struct {
    const T *data;
    int64_t channels, channel, size[3], stride[3]; /* channel: its stride */
} FD(image);

/* computes  patch[i][j][c] = from[c][i][j] for VL channels, of which those the image has not are zero
 * shapes    patch (rows, columns, VL) with `width` pixels a row; from as the image's strides say
 * touches   exactly those elements
 * order     none
 * A vector holds neighbours of a channel, which go on from row to row where memory does; of short rows it holds
 * several. */
static void FD(turn_rows)(T *patch, const T *from, const FD(image) *image, int64_t rows, int64_t columns,
                          int64_t width) {
    const int64_t step = image->stride[2], pitch = image->stride[1], channel = image->channel;
    const int64_t channels = FD(least)(image->channels, VL);
    const int dense = step == 1 && pitch == columns;
    const int64_t run = dense ? rows * columns : columns, runs = dense ? 1 : rows;
    const int64_t many = run > 0 && run <= VL / 2 ? VL / run : 1;
    T lanes[VL * VL + VL];
    V square[VL];
    int64_t i = 0, j = 0;
    for (int64_t r = 0; r < runs; r += many)
        for (int64_t first = 0, count; first < run; first += VL) {
            const T *at = from + r * pitch + first * step;
            const int64_t together = FD(least)(runs - r, many);
            count = together > 1 ? together * run : FD(least)(run - first, VL);
            if (together > 1) {
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t k = 0; k < together; k++)
                        vstore(lanes + c * VL + k * run, vload_step(at + c * channel + k * pitch, step, run));
                for (int64_t c = 0; c < VL; c++) square[c] = c < channels ? vload(lanes + c * VL) : (V){0};
            } else if (step == 1 && count == VL && channels == VL) {
#pragma GCC unroll 16
                for (int64_t c = 0; c < VL; c++) square[c] = vload(at + c * channel);
            } else {
                for (int64_t c = 0; c < VL; c++)
                    square[c] = c < channels ? vload_step(at + c * channel, step, count) : (V){0};
            }
            vtranspose(square);
            T *to = patch + (i * width + j) * VL;
            if (count == VL && j + VL <= columns) {
#pragma GCC unroll 16
                for (int64_t p = 0; p < VL; p++) vstore(to + p * VL, square[p]);
                j += VL;
                if (j == columns) j = 0, i++;
                continue;
            }
            for (int64_t p = 0; p < count; p++, to += VL) {
                vstore(to, square[p]);
                if (++j == columns) j = 0, i++, to += (width - columns) * VL;
            }
        }
}

/* patch[j][c] = from[c][j] for as many channels as the image has, of `lanes` a pixel, and some pixels of a row. */
static void FD(turn_row)(T *patch, const T *from, const FD(image) *image, int64_t lanes, int64_t pixels) {
    const int64_t step = image->stride[2];
    for (int64_t j = 0; j < pixels; j += VL, from += VL * step, patch += VL * lanes)
        for (int64_t c = 0; c < image->channels && c < lanes; c += VL) {
            const int64_t count = FD(least)(pixels - j, VL), channels = FD(least)(image->channels, lanes) - c;
            V square[VL];
            for (int64_t i = 0; i < VL; i++)
                square[i] = i < channels ? vload_step(from + (c + i) * image->channel, step, count) : (V){0};
            vtranspose(square);
            for (int64_t p = 0; p < count; p++) vstore_upto(patch + p * lanes + c, square[p], channels);
        }
}

/* computes  patch[i][j][c] = image[c, depth, row + i, column + j], zero outside the image
 * shapes    patch (height, width, lanes), channels <= lanes
 * layout    patch row-major; lanes beyond the channels are zero when lanes is VL, and absent otherwise
 * touches   all of patch, the image's own elements once
 * order     none */
static void FD(copy_patch)(T *patch, const FD(image) *image, int64_t lanes, int64_t depth, int64_t row, int64_t column,
                           int64_t height, int64_t width) {
    const int64_t *size = image->size, *stride = image->stride;
    const int64_t channels = FD(least)(image->channels, lanes);
    int64_t low = column < 0 ? -column : 0, high = FD(least)(size[2] - column, width);
    low = low > width ? width : low;
    high = high < low ? low : high;
    if (lanes == VL && image->channel != 1) {
        const int here = depth >= 0 && depth < size[0];
        const int64_t top = here ? FD(least)(FD(most)(-row, 0), height) : height;
        const int64_t bottom = FD(most)(FD(least)(size[1] - row, height), top);
        memset(patch, 0, (size_t)(top * width * VL) * sizeof(T));
        memset(patch + bottom * width * VL, 0, (size_t)((height - bottom) * width * VL) * sizeof(T));
        for (T *line = patch + top * width * VL; line < patch + bottom * width * VL; line += width * VL) {
            for (int64_t j = 0; j < low; j++) vstore(line + j * VL, (V){0});
            for (int64_t j = high; j < width; j++) vstore(line + j * VL, (V){0});
        }
        if (top < bottom && low < high)
            FD(turn_rows)(patch + (top * width + low) * VL,
                          image->data + depth * stride[0] + (row + top) * stride[1] + (column + low) * stride[2], image,
                          bottom - top, high - low, width);
        return;
    }
    for (int64_t i = 0; i < height; i++, patch += width * lanes) {
        if (depth < 0 || depth >= size[0] || row + i < 0 || row + i >= size[1]) {
            memset(patch, 0, (size_t)(width * lanes) * sizeof(T));
            continue;
        }
        const T *from = image->data + depth * stride[0] + (row + i) * stride[1] + column * stride[2];
        memset(patch, 0, (size_t)(low * lanes) * sizeof(T));
        memset(patch + high * lanes, 0, (size_t)((width - high) * lanes) * sizeof(T));
        if (image->channel == 1 && stride[2] == lanes) {
            memcpy(patch + low * lanes, from + low * lanes, (size_t)((high - low) * lanes) * sizeof(T));
        } else if (image->channel == 1 && lanes != VL) {
            for (int64_t j = low; j < high; j++)
                memcpy(patch + j * lanes, from + j * stride[2], (size_t)channels * sizeof(T));
        } else if (lanes != VL) {
            FD(turn_row)(patch + low * lanes, from + low * stride[2], image, lanes, high - low);
        } else {
            for (int64_t j = low; j < high; j++) vstore(patch + j * VL, vload_upto(from + j * stride[2], channels));
        }
    }
}

/* computes  out[c][i][j] = patch[i][j][c] for c < channels
 * shapes    patch (rows, columns, VL) with `width` pixels a row; out has `size`, and strides channel and stride
 * touches   exactly those elements
 * order     none
 * Vectors as in turn_rows. */
static void FD(turn_back)(T *out, int64_t channel, const int64_t stride[3], int64_t channels, const T *patch,
                          int64_t rows, int64_t columns, int64_t width) {
    const int64_t step = stride[2], pitch = stride[1];
    const int dense = step == 1 && pitch == columns;
    const int64_t run = dense ? rows * columns : columns, runs = dense ? 1 : rows;
    const int64_t many = run > 0 && run <= VL / 2 ? VL / run : 1;
    T lanes[VL * VL + VL];
    V square[VL];
    int64_t j = 0;
    for (int64_t r = 0; r < runs; r += many)
        for (int64_t first = 0, count; first < run; first += VL) {
            T *to = out + r * pitch + first * step;
            const int64_t together = FD(least)(runs - r, many);
            count = together > 1 ? together * run : FD(least)(run - first, VL);
            if (count == VL && j + VL <= columns) {
#pragma GCC unroll 16
                for (int64_t p = 0; p < VL; p++) square[p] = vload(patch + p * VL);
                patch += VL * VL;
                j += VL;
                if (j == columns) j = 0, patch += (width - columns) * VL;
            } else {
                for (int64_t p = 0; p < VL; p++) {
                    square[p] = p < count ? vload(patch) : (V){0};
                    if (p >= count) continue;
                    patch += VL;
                    if (++j == columns) j = 0, patch += (width - columns) * VL;
                }
            }
            vtranspose(square);
            if (together > 1) {
                for (int64_t c = 0; c < VL; c++) vstore(lanes + c * VL, square[c]);
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t k = 0; k < together; k++)
                        vstore_step(to + c * channel + k * pitch, vload(lanes + c * VL + k * run), step, run);
            } else if (step == 1 && count == VL && channels == VL) {
#pragma GCC unroll 16
                for (int64_t c = 0; c < VL; c++) vstore(to + c * channel, square[c]);
            } else {
                for (int64_t c = 0; c < channels; c++) vstore_step(to + c * channel, square[c], step, count);
            }
        }
}
