// What the CPU backend makes of a program: fusions, and copies of weights in other types and layouts.
#pragma once

#include "ops/cpu/backend.h"
#include "ops/program.h"
#include "ops/rewrites.h"

namespace packhorse::cpu {

// ---- Fused kinds: what they compute is their body

/// apply_gradient, finish_gradient, statistics_gradient: the scaled gradient is not written between them.
extern const NodeKind kBatchNormGradient;
/// loss, loss_gradient: one pass over the logits.
extern const NodeKind kLossWithGradient;
/// All sgd nodes and the norm: one pass over the weights.
extern const NodeKind kSgdWithNorm;

// ---- Fusions

void fuse_batch_norm_gradients(Program& program, const Backend& backend);
void fuse_losses(Program& program, const Backend& backend);
/// apply, add: the sum takes the normalised values as they come; they are not written. (kApply with a residual.)
void fuse_residuals(Program& program, const Backend& backend);
void fuse_updates(Program& program, const Backend& backend);

/// In the order in which they run.
inline constexpr Fusion kFusions[] = {fuse_batch_norm_gradients, fuse_losses, fuse_residuals, fuse_updates};

// ---- Copies

/// Nodes read copies of the weights that oneDNN can use as they are; in bf16, products read rounded ones.
void copy_weights(Context& context, Program& program, Program& refresh);
/// In bf16, products read rounded copies of their other operands, too.
void round_operands(Context& context, Program& program);

}  // namespace packhorse::cpu
