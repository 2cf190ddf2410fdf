/* bodies.h: one instance: every kernel for one element type and instruction set, and the row of the dispatch table that
 * names them. Included by kernels_<type>_<isa>.c with FD_TYPE and FD_ISA set; on a machine that does not have that
 * instruction set, nothing is defined.
 */
#include "target.h"

#include <math.h>
#include <string.h>

#if FD_BUILDS(FD_ISA)

#if FD_ISA == FD_AVX512
FD_TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#elif FD_ISA == FD_AVX2
FD_TARGET("avx2,fma")
#endif

#include "simd.h"
#include "vmath.h"

#include "gemm.h"
#include "product.h"

#include "algorithm.h"
#include "bands.h"
#include "taps.h"

#include "patch.h"

#include "ahead.h"

#include "gemm_small.h"

#include "winograd_parts.h"

#include "winograd_transform.h"

#include "winograd_tile.h"
#include "winograd.h"
#include "winograd_dw.h"

#include "im2col.h"
#include "small_taps.h"

#include "conv_small.h"
#include "conv_whole.h"

#include "pixels.h"
#include "points.h"
#include "strided.h"

#include "depthwise.h"
#include "depthwise_sweep.h"
#include "depthwise_halve.h"
#include "depthwise_sum.h"
#include "depthwise_dw.h"

#include "few_dx.h"
#include "few_pairs.h"
#include "few_dw.h"

#include "dw_last.h"

#include "conv.h"
#include "conv_dw.h"

#include "pool.h"
#include "pool_columns.h"
#include "pool_max.h"
#include "pool_average.h"
#include "pooled_dw.h"
#include "upsample.h"

#include "rows.h"
#include "gate.h"

#include "softmax.h"

#include "loss.h"

#include "norm.h"
#include "norm_fwd.h"
#include "norm_bwd.h"
#include "recurrent_product.h"

#include "recurrent.h"
#include "embedding.h"

#include "update.h"

#define FD_STRING_(name) #name
#define FD_STRING(name) FD_STRING_(name)

extern const fd_kernels FD(fd_row);
const fd_kernels FD(fd_row) = {
    .isa = FD_STRING(FD_ISA_NAME),
    .gemm = FD(fd_any_gemm),
    .conv_fwd = FD(fd_conv_fwd),
    .conv_dx = FD(fd_conv_dx),
    .conv_dw = FD(fd_conv_dw),
    .conv_dw_pooled = FD(fd_conv_dw_pooled),
    .maxpool_fwd = FD(fd_maxpool_fwd),
    .maxpool_gated = FD(fd_maxpool_gated),
    .maxpool_bwd = FD(fd_maxpool_bwd),
    .maxpool_share = FD(fd_maxpool_share),
    .avgpool_fwd = FD(fd_avgpool_fwd),
    .avgpool_bwd = FD(fd_avgpool_bwd),
    .upsample_fwd = FD(fd_upsample_fwd),
    .upsample_bwd = FD(fd_upsample_bwd),
    .im2col = FD(fd_im2col),
    .col2im = FD(fd_col2im),
    .bias_grad = FD(fd_bias_grad),
    .act_fwd = FD(fd_act_fwd),
    .act_bwd = FD(fd_act_bwd),
    .prelu_fwd = FD(fd_prelu_fwd),
    .prelu_bwd = FD(fd_prelu_bwd),
    .softmax_fwd = FD(fd_softmax_fwd),
    .softmax_bwd = FD(fd_softmax_bwd),
    .dropout_fwd = FD(fd_dropout_fwd),
    .dropout_bwd = FD(fd_dropout_bwd),
    .gate_fwd = FD(fd_gate_fwd),
    .gate_bwd = FD(fd_gate_bwd),
    .softmax_xent_fwd = FD(fd_softmax_xent_fwd),
    .softmax_xent_bwd = FD(fd_softmax_xent_bwd),
    .loss_fwd = FD(fd_loss_fwd),
    .loss_bwd = FD(fd_loss_bwd),
    .loss_sum = FD(fd_loss_sum),
    .norm_stats = FD(fd_norm_stats),
    .norm_apply = FD(fd_norm_apply),
    .norm_fwd = FD(fd_norm_fwd),
    .norm_bwd = FD(fd_norm_bwd),
    .rnn_fwd = FD(fd_rnn_fwd),
    .rnn_bwd = FD(fd_rnn_bwd),
    .outside = FD(fd_outside),
    .gather = FD(fd_gather),
    .scatter_add = FD(fd_scatter_add),
    .update = FD(fd_update),
};

#if FD_ISA == FD_AVX512 || FD_ISA == FD_AVX2
FD_TARGET_END
#endif

#endif
