// The kinds of nodes: what each one computes, defined once for all backends. A backend that cannot run a node says so
// before the first step.
//
// Activations are channels last, (N, H, W, C), f32 or bf16; a gradient has the shape and type of its value. Parameters
// and arrays of channels are f32, sums over pixels f64. The same input gives the same bits, whatever ran before. A
// gradient node may read "..._addend", the sum of the contributions before its own, and adds it to its result.
//
// Each line: what it reads -> what it writes; numbers.
#pragma once

#include <cstdint>

#include "ops/program.h"

namespace packhorse {

// ---- input.cc

/// pixels (N, S, S, 3) u8 -> dst. dst(n,y,x,c) = (pixel - mean_c) * scale_c. If a call has fewer images than the batch,
/// the rest is zeros. Numbers mean_0..2, scale_0..2.
extern const NodeKind kInput;

// ---- convolution.cc: numbers kernel, stride, pad

/// src, weight (O, C, K, K) -> dst. dst(n,y,x,o) = sum over c,i,j of src(n, y*stride+i-pad, x*stride+j-pad, c) *
/// weight(o,c,i,j); zeros outside the image.
extern const NodeKind kConvolution;
/// dst_grad, weight -> src_grad
extern const NodeKind kConvolutionDataGradient;
/// src, dst_grad -> weight_grad
extern const NodeKind kConvolutionWeightGradient;

// ---- batch_norm.cc: y = scale * (x - mean) / sqrt(variance + epsilon) + shift, in three nodes

/// src -> mean, variance (C). Over the pixels of the batch; the variance is biased (divided by their number).
extern const NodeKind kStatistics;
/// mean, variance, scale, shift -> a, b (C). a = scale / sqrt(variance + epsilon), b = shift - mean * a. Numbers
/// epsilon, count: pixels that the statistics were taken from.
extern const NodeKind kFinish;
/// src, a, b, [residual] -> dst. dst = src * a + b, rounded to dst's type; then + residual if there is one; then ReLU
/// if relu. Numbers relu. The derivative of ReLU at 0 is 0.
extern const NodeKind kApply;
/// dst_grad, src, a, b, [residual] -> [src_grad], [masked_grad], a_grad, b_grad (C, f64), [residual_grad]. With
/// g = dst_grad where ReLU let the value pass: src_grad = a * g, masked_grad = g, a_grad = sum of g * src, b_grad = sum
/// of g, residual_grad = g.
extern const NodeKind kApplyGradient;
/// a_grad, b_grad, mean, variance, scale -> scale_grad, shift_grad, k, l (C). k and l are the coefficients of the
/// gradient that flows through the statistics, for one of the `count` pixels: k * (src - mean) + l.
extern const NodeKind kFinishGradient;
/// src, mean, k, l, [masked_grad, a] -> src_grad. src_grad = k * (src - mean) + l, and + a * masked_grad if there is
/// one: then a batch norm's gradient needs one pass after its reductions.
extern const NodeKind kStatisticsGradient;

// ---- add.cc

/// a, b -> dst. dst = a + b, then ReLU if relu. Numbers relu.
extern const NodeKind kAdd;
/// dst_grad, [dst] -> src_grad. dst_grad where dst > 0; everywhere without dst.
extern const NodeKind kAddGradient;

// ---- pooling.cc: numbers kernel, stride, pad

/// src, [sign (C)] -> dst, [argmax u8]. A maximum ignores the padding; argmax is its place in the window, rows first,
/// the first of several equal ones. With `sign`, the minimum in a channel where that is negative, and the first place
/// inside the image where it is 0: the place whose product with `sign` is the greatest.
extern const NodeKind kMaxPool;
/// dst_grad, argmax -> src_grad
extern const NodeKind kMaxPoolGradient;
/// src -> dst. An average counts the padding as zeros and always divides by kernel².
extern const NodeKind kAveragePool;
/// dst_grad -> src_grad
extern const NodeKind kAveragePoolGradient;
/// src -> dst (N, 1, 1, C) f32: the mean over the pixels.
extern const NodeKind kGlobalPool;
/// dst_grad -> src_grad
extern const NodeKind kGlobalPoolGradient;

// ---- channels.cc

/// src -> dst. dst = src: channels of a value by themselves, or at their place in a concatenation.
extern const NodeKind kCopyChannels;
/// dst_grad -> src_grad. src_grad = dst_grad.
extern const NodeKind kCopyChannelsGradient;
/// -> dst (C). dst = value. Numbers value.
extern const NodeKind kFill;

// ---- fully_connected.cc: all f32; a backend may round the operands of products to bf16 (kCopy)

/// src (N, C), weight (O, C), bias (O) -> dst (N, O)
extern const NodeKind kFullyConnected;
/// dst_grad, weight -> src_grad
extern const NodeKind kFullyConnectedDataGradient;
/// src, dst_grad -> weight_grad
extern const NodeKind kFullyConnectedWeightGradient;
/// dst_grad -> bias_grad
extern const NodeKind kBiasGradient;

// ---- loss.cc: number smoothing

/// logits (N, classes), labels (N) i32, [loss_scale: of its gradient] -> result (4): the sums over the images of this
/// rank, as in StepReport: loss, counted, top1, top5. Softmax cross entropy against the target (1 - smoothing) *
/// one_hot + smoothing / classes. An image with a label < 0 has loss 0 and gradient 0 and is not counted. Top-k counts
/// an image if fewer than k logits are greater than the label's logit; an equal logit at a lower index counts as
/// greater. If the label's logit is NaN, the image never counts as correct.
extern const NodeKind kLoss;
/// logits, labels, [loss_scale] -> logits_grad, times the call's gradient scale, and times the loss scale if there is
/// one.
extern const NodeKind kLossGradient;

// ---- step.cc: what a step does besides the network's gradients

/// src -> dst, at the same bytes: the sum over all ranks.
extern const NodeKind kSum;
/// words (4): the result of the loss, summed, [squares] -> finite (1) i32: 1 if the mean loss (and the gradient's
/// length) is a number, else 0; then nothing is updated.
extern const NodeKind kFinite;
/// gradient, [loss_scale] -> squares (1) f64: the squared length of the whole gradient, without the loss scale.
extern const NodeKind kNorm;
/// batch, running, finite -> new_running. running * momentum + (1 - momentum) * batch * share. Numbers momentum, share:
/// 1 / ranks, because the batch's statistics are a sum over the ranks.
extern const NodeKind kRunningStatistics;
/// src -> dst: the same numbers in another type or layout.
extern const NodeKind kCopy;
/// loss_scale, finite -> new_loss_scale. (2): the factor of the loss in the backward pass, and the number of updates
/// since it changed. Halved (down to 1) where the step is not finite, doubled (up to 2^24) after `interval` updates;
/// interval 0: the factor stays. Powers of two change no bit of a result, unless a number leaves the range of its type.
extern const NodeKind kLossScale;
/// words, squares, finite, [loss_scale] -> : what the call's report says.
extern const NodeKind kReport;

// ---- sgd.cc (optimizers: optimizers.h)

/// weight, gradient, momentum, finite, [loss_scale] -> new_weight, new_momentum. PyTorch's convention (torch.optim.SGD,
/// dampening 0, no Nesterov):
///     v = momentum * v + (g + decay * w)
///     w = w - learning_rate * v
/// A change of the learning rate therefore acts at once, and the decay is coupled: momentum and learning rate scale it.
/// g is the gradient without the loss scale.
/// Numbers momentum, decay.
extern const NodeKind kSgd;

/// Of the state loss_scale.
enum LossScaleWord { kLossScaleFactor, kLossScaleUpdates, kLossScaleWords };
inline constexpr float kGreatestLossScale = 0x1p24f;

/// Words of the loss's result, as ranks sum them. (Counts are exact below 2^24.)
enum Word { kWordLoss, kWordCounted, kWordTop1, kWordTop5, kWords };

/// Added to the variance before the square root, unless a network says otherwise.
inline constexpr double kBatchNormEpsilon = 1e-5;

}  // namespace packhorse
