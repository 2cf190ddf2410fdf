"""Sizes, pads and refusals, held against PyTorch's sizes and TensorFlow's rule where PyTorch is installed."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from fastdl.shapes import (
    axis_plan,
    columns_shape,
    conv_plan,
    conv_transpose_plan,
    im2col_plan,
    linear_plan,
    pool_plan,
)
from fastdl.shapes_upsample import upsample_plan

SIZES = range(1, 9)


def conv(x=(2, 4, 9, 8), w=(6, 4, 3, 2), b=None, ndim=2, **geometry):
    return conv_plan("conv2d", x, w, b, ndim=ndim, **geometry)


def transposed(x=(2, 4, 5, 6), w=(4, 6, 3, 2), b=None, ndim=2, **geometry):
    return conv_transpose_plan("conv_transpose2d", x, w, b, ndim=ndim, **geometry)


def pool(x=(2, 3, 9, 8), size=2, ndim=2, **geometry):
    return pool_plan("max_pool2d", x, size, ndim=ndim, **geometry)


class TestSizes:
    """Output sizes, by brute force over small geometries."""

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_conv_as_torch(self, ndim: int) -> None:
        torch = pytest.importorskip("torch")
        function = getattr(torch.nn.functional, f"conv{ndim}d")
        for n, k, s, p, d in itertools.product((3, 4, 7), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
            if d * (k - 1) + 1 > n + 2 * p:
                continue
            x, w = (1, 2, *(n,) * ndim), (3, 2, *(k,) * ndim)
            y = function(torch.zeros(x), torch.zeros(w), stride=s, padding=p, dilation=d)
            plan = conv_plan("conv", x, w, None, ndim=ndim, stride=s, padding=p, dilation=d)
            assert plan.y_shape == tuple(y.shape)

    def test_conv_transpose_as_torch(self) -> None:
        torch = pytest.importorskip("torch")
        for n, k, s, p, d, extra in itertools.product(
            (1, 3, 4), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2), (0, 1, 2)
        ):
            x, w = (1, 2, n), (2, 3, k)
            arguments = {"stride": s, "padding": p, "dilation": d, "output_padding": extra}
            if extra >= max(s, d) or (n - 1) * s - 2 * p + d * (k - 1) + extra + 1 < 1:
                with pytest.raises(ValueError, match=r"output_padding|padding .* crops"):
                    transposed(x, w, ndim=1, **arguments)
                continue
            y = torch.nn.functional.conv_transpose1d(torch.zeros(x), torch.zeros(w), **arguments)
            plan = transposed(x, w, ndim=1, **arguments)
            assert plan.x_shape == tuple(y.shape), arguments
            assert plan.y_shape == x

    def test_pool_as_torch(self) -> None:
        torch = pytest.importorskip("torch")
        function = torch.nn.functional.max_pool1d
        for n, k, s, p, ceil in itertools.product(
            SIZES, (1, 2, 3, 5), (1, 2, 3, 4), (0, 1, 2), (False, True)
        ):
            if p > k // 2:
                continue
            try:
                expected = tuple(function(torch.zeros(1, 1, n), k, s, p, ceil_mode=ceil).shape)
            except RuntimeError:
                with pytest.raises(ValueError, match="the window reaches over"):
                    pool((1, 1, n), k, 1, stride=s, padding=p, ceil_mode=ceil)
                continue
            assert pool((1, 1, n), k, 1, stride=s, padding=p, ceil_mode=ceil).y_shape == expected, (
                n,
                k,
                s,
                p,
            )

    def test_every_window_holds_a_real_cell(self) -> None:
        for n, k, s, lo, hi, ceil in itertools.product(
            range(1, 6), (1, 2, 3), (1, 2, 4), (0, 1, 2), (0, 1, 2), (False, True)
        ):
            if max(lo, hi) >= k or k > n + lo + hi:
                continue
            plan = pool((1, 1, n), k, 1, stride=s, padding=((lo, hi),), ceil_mode=ceil)
            starts = [i * s - lo for i in range(plan.out_size[2])]
            assert all(start < n and start + k > 0 for start in starts)
            # One more window would leave the padded input, or with ceil_mode begin past its cells.
            over = starts[-1] + s
            assert over >= n if ceil and over + k - s > n + hi else over + k > n + hi or over >= n

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_same_is_tensorflows_rule(self, layout: str) -> None:
        # TensorFlow's documentation of padding="SAME"; (size, kernel, stride, dilation) -> (before, after).
        table = {
            (13, 6, 5, 1): (1, 2),
            (28, 3, 1, 1): (1, 1),
            (28, 3, 2, 1): (0, 1),
            (28, 2, 1, 1): (0, 1),
            (7, 4, 2, 1): (1, 2),
            (10, 3, 1, 2): (2, 2),
            (5, 1, 2, 1): (0, 0),
            (4, 2, 4, 1): (0, 0),
        }
        for (n, k, s, d), pads in table.items():
            x, w = ((1, 1, n), (1, 1, k)) if layout == "NCHW" else ((1, n, 1), (k, 1, 1))
            plan = conv(x, w, ndim=1, stride=s, dilation=d, padding="same", layout=layout)
            assert (plan.pad_before[2], plan.pad_after[2]) == pads
            assert plan.out_size[2] == math.ceil(n / s)

    def test_same_transposed_multiplies_by_the_stride(self) -> None:
        for n, k, s in itertools.product((1, 3, 4), (1, 2, 3, 4, 5), (1, 2, 3)):
            plan = transposed((1, 1, n), (1, 1, k), ndim=1, stride=s, padding="same")
            assert plan.in_size[2] == n * s
            # The convolution it is the adjoint of is the "same" one.
            assert (
                plan.pad_before == conv((1, 1, n * s), (1, 1, k), ndim=1, stride=s, padding="same").pad_before
            )

    def test_layouts_describe_the_same_thing(self) -> None:
        first = conv(stride=(1, 2), padding=((0, 1), (2, 0)))
        last = conv((2, 9, 8, 4), (3, 2, 4, 6), stride=(1, 2), padding=((0, 1), (2, 0)), layout="NHWC")
        for field in dataclasses.fields(first):
            if field.name != "layout" and not field.name.endswith("_shape"):
                assert getattr(first, field.name) == getattr(last, field.name)
        assert (first.y_shape, last.y_shape) == ((2, 6, 8, 5), (2, 8, 5, 6))

    def test_fewer_axes_are_leading_axes_of_size_one(self) -> None:
        plan = conv((2, 4, 9), (6, 4, 3), ndim=1, stride=2, padding=1, dilation=2)
        assert plan.in_size == (1, 1, 9)
        assert plan.kernel == (1, 1, 3)
        assert plan.stride == (1, 1, 2)
        assert plan.dilation == (1, 1, 2)
        assert plan.pad_before == plan.pad_after == (0, 0, 1)
        assert plan.out_size == (1, 1, 4)

    def test_the_others(self) -> None:
        columns = im2col_plan("im2col", (2, 3, 5, 6), (2, 3), stride=2)
        assert columns_shape(columns) == (2 * 2 * 2, 3 * 2 * 3)
        assert upsample_plan("upsample2d", (1, 4, 5, 3), (2, 3), layout="NHWC").y_shape == (1, 8, 15, 3)
        assert linear_plan("linear", (2, 5, 3), (3, 4), (4,)).y_shape == (2, 5, 4)
        assert linear_plan("linear", (3,), (3, 4), None).rows == 1
        assert axis_plan("softmax", (2, 3, 4), -2).split == (2, 3, 4)
        assert pool(count_include_pad=True).count_include_pad

    def test_empty_batches_and_no_input_channels_are_fine(self) -> None:
        assert conv((0, 4, 9, 8)).y_shape == (0, 6, 7, 7)
        assert conv((2, 0, 9, 8), (6, 0, 3, 2)).y_shape == (2, 6, 7, 7)
        assert pool((0, 3, 9, 8)).y_shape == (0, 3, 4, 4)


class TestSpelling:
    """The ways to write one geometry."""

    @pytest.mark.parametrize("padding", [1, (1, 1), [1, 1], ((1, 1), (1, 1)), [[1, 1], 1]])
    def test_padding(self, padding: object) -> None:
        assert conv(padding=padding) == conv(padding=1)

    def test_lists_and_numpy_integers(self) -> None:
        numpy = pytest.importorskip("numpy")
        assert (
            conv(stride=[2, 2])
            == conv(stride=numpy.int64(2))
            == conv(stride=numpy.array([2, 2]))
            == conv(stride=2)
        )
        assert type(conv(stride=numpy.int64(2)).stride[2]) is int

    def test_valid_is_zero(self) -> None:
        assert conv(padding="valid") == conv(padding=0)

    def test_a_plan_is_made_once(self) -> None:
        assert conv(stride=2, padding=((0, 1), (1, 0))) is conv(stride=2, padding=((0, 1), (1, 0)))

    @pytest.mark.parametrize("stride", [True, 1.0])
    def test_what_equals_an_integer_is_none(self, stride: object) -> None:
        conv(stride=1)  # a cache that takes 1 == True for the same call would answer with this plan
        with pytest.raises(TypeError, match="stride must be an integer"):
            conv(stride=stride)


BIG = 2**40
REFUSED = [
    # The example of the design, word for word.
    (
        lambda: conv((32, 3, 28, 28), (32, 1, 3, 3)),
        ValueError,
        "conv2d: x has 3 channels (axis 1 of (32, 3, 28, 28)) but w expects 1 (w is (32, 1, 3, 3))",
    ),
    (
        lambda: conv((2, 9, 8, 4), (3, 2, 5, 6), layout="NHWC"),
        ValueError,
        "x has 4 channels (axis 3 of (2, 9, 8, 4))",
    ),
    (lambda: conv((2, 4, 9)), ValueError, "x must be (N, C, H, W) for layout 'NCHW'; got shape (2, 4, 9)"),
    (lambda: conv(w=(6, 4, 3)), ValueError, "w must be (O, I, H, W) for layout 'NCHW'; got shape (6, 4, 3)"),
    (lambda: conv(w=(6, 4, 3), layout="NHWC"), ValueError, "w must be (H, W, I, O) for layout 'NHWC'"),
    (lambda: conv(b=(5,)), ValueError, "b must have shape (6,), one entry an output channel; got (5,)"),
    (lambda: conv(stride=0), ValueError, "stride must be at least 1; got 0"),
    (lambda: conv(stride=(1, -1)), ValueError, "stride must be at least 1; got -1"),
    (lambda: conv(dilation=0), ValueError, "dilation must be at least 1; got 0"),
    (lambda: conv(stride=(1, 2, 3)), ValueError, "stride must be an int or 2 of them; got (1, 2, 3)"),
    (lambda: conv(stride=1.0), TypeError, "stride must be an integer; got 1.0"),
    (lambda: conv(stride=True), TypeError, "stride must be an integer; got True"),
    (lambda: conv(stride="2"), TypeError, "stride must be an integer; got '2'"),
    (lambda: conv(stride=None), TypeError, "stride must be an integer; got None"),
    (lambda: conv(stride=2**31), ValueError, "stride must be below 2**31"),
    (lambda: conv(padding=-1), ValueError, "padding must be at least 0; got -1"),
    (lambda: conv(padding="full"), ValueError, "padding must be one of 'same', 'valid'; got 'full'"),
    (lambda: conv(padding=(1, 2, 3)), ValueError, "padding must be an int, 2 ints, 2 (before, after) pairs"),
    (
        lambda: conv(padding=((1, 2, 3), 0)),
        ValueError,
        "padding must be an int, 2 ints, 2 (before, after) pairs",
    ),
    (lambda: conv(padding={}), ValueError, "padding must be an int, 2 ints"),
    (lambda: conv(padding=0.5), TypeError, "padding must be an integer; got 0.5"),
    (
        lambda: conv(groups=3),
        ValueError,
        "groups must divide the channels; x has 4 in (2, 4, 9, 8) and groups is 3",
    ),
    (lambda: conv(groups=2), ValueError, "but w expects 8 (w is (6, 4, 3, 2) and groups is 2)"),
    (lambda: conv(w=(7, 2, 3, 2), groups=2), ValueError, "groups must divide the channels; w (output) has 7"),
    (lambda: conv(groups=0), ValueError, "groups must be at least 1; got 0"),
    (lambda: conv(layout="HWCN"), ValueError, "layout must be one of 'NCHW', 'NHWC'; got 'HWCN'"),
    (lambda: conv(w=(6, 4, 10, 2)), ValueError, "the kernel reaches over (10, 2) cells but x has (9, 8)"),
    (lambda: conv(dilation=5), ValueError, "the kernel reaches over (11, 6) cells but x has (9, 8)"),
    (lambda: conv(w=(6, 4, 0, 2)), ValueError, "w has a kernel of size 0"),
    (lambda: conv((2, 4, 0, 8), padding=5), ValueError, "a spatial size is 0"),
    (lambda: conv((BIG, 4, 3, 2**20)), ValueError, "x would be too large"),
    (lambda: conv((0, 4, BIG, BIG)), ValueError, "x would be too large"),
    (lambda: conv(padding=2**31 - 1), ValueError, "the output would be too large"),
    (
        lambda: transposed(w=(5, 6, 3, 2)),
        ValueError,
        "x has 4 channels (axis 1 of (2, 4, 5, 6)) but w expects 5",
    ),
    (lambda: transposed(w=(4, 6, 3)), ValueError, "w must be (I, O, H, W)"),
    (lambda: transposed(b=(4,)), ValueError, "b must have shape (6,)"),
    (
        lambda: transposed(output_padding=1),
        ValueError,
        "output_padding must be smaller than stride or dilation",
    ),
    (lambda: transposed(output_padding=-1), ValueError, "output_padding must be at least 0"),
    (lambda: transposed(padding="same", stride=2, output_padding=1), ValueError, "output_padding must be 0"),
    (lambda: transposed(padding=4), ValueError, "padding 4 crops the whole output"),
    (lambda: transposed(stride=2**31 - 1), ValueError, "the output would be too large"),
    (lambda: pool(size=0), ValueError, "size must be at least 1; got 0"),
    (lambda: pool(size=(2, 2, 2)), ValueError, "size must be an int or 2 of them"),
    (lambda: pool(stride=0), ValueError, "stride must be at least 1"),
    (
        lambda: pool(padding=2),
        ValueError,
        "padding must be smaller than the window; got padding 2, size (2, 2)",
    ),
    (lambda: pool(size=10), ValueError, "the window reaches over (10, 10) cells but x has (9, 8)"),
    (lambda: pool((2, 3, 9)), ValueError, "x must be (N, C, H, W)"),
    (lambda: upsample_plan("upsample2d", (1, 1, 2, 2), 0), ValueError, "scale must be at least 1"),
    (
        lambda: upsample_plan("upsample2d", (1, 1, 2, 2), 2, mode="cubic"),
        ValueError,
        "mode must be one of 'nearest'",
    ),
    (
        lambda: upsample_plan("upsample2d", (1, 1, 2, 2), 2**31 - 1),
        ValueError,
        "the output would be too large",
    ),
    (lambda: im2col_plan("col2im", 7, 2), TypeError, "x_shape must be a tuple of integers; got 7"),
    (lambda: im2col_plan("col2im", (1, 1, -4, 4), 2), ValueError, "x_shape must be at least 0; got -4"),
    (
        lambda: linear_plan("linear", (2, 3), (4, 5), None),
        ValueError,
        "x has 3 features (last axis of (2, 3)) but w",
    ),
    (lambda: linear_plan("linear", (2, 3), (3,), None), ValueError, "w must be (in_features, out_features)"),
    (
        lambda: linear_plan("linear", (), (3, 4), None),
        ValueError,
        "x must be (..., in_features); got a scalar",
    ),
    (lambda: linear_plan("linear", (2, 3), (3, 4), (3,)), ValueError, "b must have shape (4,)"),
    (lambda: axis_plan("softmax", (2, 3), 2), ValueError, "axis 2 is out of range for x of shape (2, 3)"),
    (lambda: axis_plan("softmax", (), -1), ValueError, "axis -1 is out of range"),
    (lambda: axis_plan("softmax", (2, 3), 1.0), TypeError, "axis must be an integer; got 1.0"),
]


@pytest.mark.parametrize("call, error, words", REFUSED, ids=[words[:60] for _, _, words in REFUSED])
def test_refused(call, error, words) -> None:
    for _ in range(2):  # the second time a cached plan must not answer instead
        with pytest.raises(error) as caught:
            call()
        assert words in str(caught.value)
        assert str(caught.value).split(":")[0].replace("_", "").isalnum()
