// Algebraic rewrites that let values stay raw: what a convolution gives, before scale and shift of its batch norm.
// Pools and concatenations pass raw values on, and whoever reads them applies scale, shift and ReLU. So a backend whose
// convolutions can do that on the way in (fusions.h) writes no normalised copy.
//
// They change training steps only. In inference scale and shift are known before the convolution runs: they belong
// behind it, and a program without statistics stays as it is.
#pragma once

#include "ops/rewrites.h"

namespace packhorse {

/// apply, add: the sum takes the scaled values as they come. (apply with a residual; its gradient needs one mask.)
void take_residuals(Program& program);
/// apply, max_pool: the pool comes first and takes what becomes the greatest (max_pool with a sign). Normalisation and
/// ReLU rise or fall with the raw value all over a channel, so they commute with it. Only where nobody else reads the
/// normalised values: another reader's gradient would have to be added behind the mask instead of in front of it.
void pool_raw_values(Program& program);
/// A max pool beside convolutions moves to its first reader. So its gradient is the first contribution, and the data
/// gradient adds it: a convolution's epilogue can add, mask and reduce at once.
void delay_max_pools(Program& program);
/// A concatenation of normalised values becomes one of raw values, with one wide apply behind it: each branch's finish
/// writes its range of a wide scale and shift, and a copy writes its range of the values. What is not the result of an
/// apply (a max pool of the former block) keeps scale 1 and shift 0.
void join_raw_values(Program& program);
/// An apply that reads some channels of a merged convolution reads a copy of them by itself: the convolution behind it,
/// which absorbs the apply, wants its operands dense.
void copy_ranges(Program& program);

/// In the order in which they run.
inline constexpr Rewrite kRawValues[] = {move_average_pools, merge_siblings,  take_residuals, pool_raw_values,
                                         join_raw_values,    delay_max_pools, copy_ranges};

}  // namespace packhorse
