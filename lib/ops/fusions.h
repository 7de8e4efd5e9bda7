// Fusions of a training step around its convolutions, after the backward pass: a batch norm's scale, shift and ReLU go
// into the convolution that reads them, its statistics into the one that writes them, and in the backward pass mask and
// reductions into the data gradient. Raw values (raw_values.h) come first.
//
// A backend lists them in its rewrite() and answers supported() for each place; what a library has kernels for
// (strides, windows) is its to say. Where it refuses, the plain nodes stay.
#pragma once

#include "ops/program.h"
#include "ops/rewrites.h"

namespace packhorse {

// ---- Fused kinds: what they compute is their body, plain nodes in this order. Each line: body: what it reads -> what
// it writes. A second operand of a role has the role with "_1" behind it, a third "_2". Numbers: those of the body.

/// convolution, statistics...: src, weight -> dst, mean, variance, [mean_1, variance_1, ...]. The statistics of all of
/// dst's channels or, after siblings were merged, of ranges of them.
extern const NodeKind kConvolutionStatistics;
/// apply, convolution, statistics...: src, a, b, weight -> dst, mean, variance, [mean_1, ...]
extern const NodeKind kApplyConvolutionStatistics;
/// apply, convolution, statistics...: src, a, b, residual, weight -> sum, dst, mean, variance, [mean_1, ...]. The sum
/// is what apply gives with a residual: others read it too.
extern const NodeKind kSumConvolutionStatistics;
/// apply, apply, convolution, statistics...: residual_src, residual_a, residual_b, src, a, b, weight -> sum, dst, mean,
/// variance, [mean_1, ...]. The first apply gives the residual of the second.
extern const NodeKind kProjectedSumConvolutionStatistics;

/// apply, convolution_weight_gradient: src, a, b, dst_grad -> weight_grad
extern const NodeKind kApplyConvolutionWeightGradient;

/// convolution_data_gradient, apply_gradient: dst_grad, weight, [addend], src, a, b -> masked_grad, a_grad, b_grad. The
/// addend is added before the mask.
extern const NodeKind kDataGradientMask;
/// The same, and reads the residual, which the mask needs.
extern const NodeKind kDataGradientSumMask;
/// apply, convolution_data_gradient, apply_gradient, apply_gradient: residual_src, residual_a, residual_b, dst_grad,
/// weight, [addend], src, a, b -> masked_grad, a_grad, b_grad, residual_a_grad, residual_b_grad. Behind a projection:
/// one mask, the reductions of two batch norms.
extern const NodeKind kDataGradientProjectedSumMask;

/// apply, max_pool: src, a, b -> dst, argmax. The normalised values are not written.
extern const NodeKind kApplyMaxPool;
/// apply, global_pool: src, a, b, [residual] -> dst
extern const NodeKind kApplyGlobalPool;
/// global_pool_gradient, apply_gradient: dst_grad, src, a, b, [residual] -> masked_grad, a_grad, b_grad
extern const NodeKind kGlobalPoolGradientMask;
/// statistics, max_pool: src, sign -> mean, variance, dst, argmax. One pass over what a stem's convolution gives.
extern const NodeKind kStatisticsMaxPool;
/// max_pool_gradient, statistics_gradient: dst_grad, argmax, src, mean, k, l, a -> src_grad. Only the pooled gradient
/// is ever written.
extern const NodeKind kMaxPoolStatisticsGradient;
/// copy_channels..., [average_pool, statistics]: src, [src_1, ...] -> dst, [dst_1, ...], [mean, variance]. Takes the
/// result of a merged convolution apart: ranges by themselves, or to their places in a concatenation.
extern const NodeKind kScatter;
/// copy_channels...: src, src_1, ... -> dst, dst_1, ... Into one concatenation.
extern const NodeKind kJoin;
/// sgd (or another optimizer)..., running_statistics..., copy...: weight, gradient, the optimizer's states, batch,
/// running, finite, [loss_scale] -> new_weight, the states' next versions, new_running, dst, dst_1, ... All that
/// changes when a step is applied. Ranges that lie one behind the other are one operand; the copies are those of the
/// new weights.
extern const NodeKind kUpdates;

inline constexpr const NodeKind* kFusedKinds[] = {&kConvolutionStatistics,
                                                  &kApplyConvolutionStatistics,
                                                  &kSumConvolutionStatistics,
                                                  &kProjectedSumConvolutionStatistics,
                                                  &kApplyConvolutionWeightGradient,
                                                  &kDataGradientMask,
                                                  &kDataGradientSumMask,
                                                  &kDataGradientProjectedSumMask,
                                                  &kApplyMaxPool,
                                                  &kApplyGlobalPool,
                                                  &kGlobalPoolGradientMask,
                                                  &kStatisticsMaxPool,
                                                  &kMaxPoolStatisticsGradient,
                                                  &kScatter,
                                                  &kJoin};

// ---- The fusions

/// apply_gradient writes the masked gradient alone; the multiplication by `a` waits for statistics_gradient, which
/// passes over the same values anyway. Where masked and given gradient are the same numbers, only one is written.
void separate_masks(Program& program, const Backend& backend);
/// Pointwise passes read and write ranges where they lie, so that copies between them are not needed: an average pool
/// writes into its concatenation, the backward pass reads gradients and raw values from it.
void drop_copies(Program& program, const Backend& backend);
/// Before the convolution that first reads a sum: kProjectedSumConvolutionStatistics with
/// kDataGradientProjectedSumMask, then kSumConvolutionStatistics.
void fuse_projected_sums(Program& program, const Backend& backend);
void fuse_sums(Program& program, const Backend& backend);
/// Every reader of normalised values takes the raw ones and applies scale, shift and ReLU itself, if all of them can;
/// then the normalised values are not written.
void absorb_applies(Program& program, const Backend& backend);
void fuse_statistics(Program& program, const Backend& backend);
void fuse_masks(Program& program, const Backend& backend);
void fuse_copies(Program& program, const Backend& backend);
void fuse_pools(Program& program, const Backend& backend);
/// All updates of a step become one node. After copy_weights() (weight_copies.h), whose copies are part of it.
void fuse_updates(Program& program, const Backend& backend);

/// Those around convolutions, in the order in which they run.
inline constexpr Fusion kConvolutionFusions[] = {separate_masks, drop_copies,    fuse_projected_sums,
                                                 fuse_sums,      absorb_applies, fuse_statistics,
                                                 fuse_masks,     fuse_copies,    fuse_pools};

}  // namespace packhorse
