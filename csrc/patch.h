/* patch.h: padded pieces of an image with the channels innermost, whatever the layout of the image. */

/* One image, or some neighbouring channels of it. */
typedef struct {
    const T *data;
    int64_t channels, channel, size[3], stride[3]; /* channel: its stride */
} FD(image);

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
    for (int64_t i = 0; i < height; i++, patch += width * lanes) {
        if (depth < 0 || depth >= size[0] || row + i < 0 || row + i >= size[1]) {
            memset(patch, 0, (size_t)(width * lanes) * sizeof(T));
            continue;
        }
        const T *from = image->data + depth * stride[0] + (row + i) * stride[1] + column * stride[2];
        memset(patch, 0, (size_t)(low * lanes) * sizeof(T));
        memset(patch + high * lanes, 0, (size_t)((width - high) * lanes) * sizeof(T));
        int64_t count;
        if (image->channel == 1 && stride[2] == lanes) {
            memcpy(patch + low * lanes, from + low * lanes, (size_t)((high - low) * lanes) * sizeof(T));
        } else if (image->channel == 1 && lanes != VL) {
            for (int64_t j = low; j < high; j++)
                memcpy(patch + j * lanes, from + j * stride[2], (size_t)channels * sizeof(T));
        } else if (lanes != VL) {
            for (int64_t c = 0; c < channels; c++)
                for (int64_t j = low; j < high; j++) patch[j * lanes + c] = from[j * stride[2] + c * image->channel];
        } else if (image->channel == 1) {
            for (int64_t j = low; j < high; j++) vstore(patch + j * VL, vload_upto(from + j * stride[2], channels));
        } else {
            for (int64_t j = low; j < high; j += count) {
                V square[VL];
                count = FD(least)(high - j, VL);
                const T *pixel = from + j * stride[2];
                for (int64_t c = 0; c < VL; c++)
                    square[c] = c < channels ? vload_step(pixel + c * image->channel, stride[2], count) : (V){0};
                vtranspose(square);
                for (int64_t p = 0; p < count; p++) vstore(patch + (j + p) * VL, square[p]);
            }
        }
    }
}
