#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"
#include "ops/cpu/rewrites.h"

namespace packhorse::cpu {

namespace {

constexpr int64_t kPieceLength = int64_t{1} << 14;

/// `unscale`: 1 / the loss scale, a power of two: a product with it changes no bit.
float update(float* w, const float* g, float* v, size_t count, float momentum, float decay, float learning_rate,
             float unscale) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < count; ++i) {
    const float gradient = g[i] * unscale;
    squares += gradient * gradient;
    v[i] = momentum * v[i] + (gradient + decay * w[i]);
    w[i] -= learning_rate * v[i];
  }
  return squares;
}

float squared_length(const float* g, size_t count, float unscale) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < count; ++i) squares += (g[i] * unscale) * (g[i] * unscale);
  return squares;
}

float unscale_by(const float* loss_scale) { return loss_scale == nullptr ? 1.0f : 1 / loss_scale[kLossScaleFactor]; }

/// A range of the flat arrays with the same decay, short enough to stay in cache.
struct Piece {
  int64_t first = 0, count = 0;
  float momentum = 0, decay = 0;
};

void cut(std::vector<Piece>& pieces, int64_t first, int64_t count, const Node& node) {
  for (int64_t done = 0; done < count; done += kPieceLength)
    pieces.push_back({first + done, std::min(kPieceLength, count - done), static_cast<float>(node.number("momentum")),
                      static_cast<float>(node.number("decay"))});
}

// Of a node alone, or of all parameters of a fused one.
std::vector<Piece> pieces_of(const Node& node) {
  std::vector<Piece> pieces;
  if (node.is(kNorm)) cut(pieces, 0, node.at("gradient").count, node);
  if (node.is(kSgd)) cut(pieces, 0, node.at("weight").count, node);
  for (const Node& inner : node.body)
    if (inner.is(kSgd)) cut(pieces, inner.at("weight").first, inner.at("weight").count, inner);
  return pieces;
}

// The new state lies where the old one lies.
Run bind_update(const Context& context, const Site& site) {
  return [&context, pieces = pieces_of(site.node()), weight = site.array<float>("weight"),
          gradient = site.array<float>("gradient"), momentum = site.array<float>("momentum"),
          finite = site.array<int32_t>("finite"), scale = site.array<float>("loss_scale"),
          squares = site.array<double>("squares"), parts = site.array<double>("workspace")](const StepCall& call) {
    const auto rate = static_cast<float>(call.learning_rate);
    const float unscale = unscale_by(scale);
    const auto count = static_cast<int64_t>(pieces.size());
    context.each(count, [&](int64_t i) {
      const Piece& piece = pieces[static_cast<size_t>(i)];
      const auto length = static_cast<size_t>(piece.count);
      parts[i] = *finite == 0 ? squared_length(gradient + piece.first, length, unscale)
                              : update(weight + piece.first, gradient + piece.first, momentum + piece.first, length,
                                       piece.momentum, piece.decay, rate, unscale);
    });
    if (squares != nullptr) *squares = std::accumulate(parts, parts + count, 0.0);
  };
}

}  // namespace

uint64_t sgd_workspace(Context& /*context*/, const Program& /*program*/, const Node& node) {
  return sizeof(double) * pieces_of(node).size();
}

Run bind_sgd(Context& context, const Site& site) { return bind_update(context, site); }
Run bind_sgd_with_norm(Context& context, const Site& site) { return bind_update(context, site); }

Run bind_norm(Context& context, const Site& site) {
  return [&context, pieces = pieces_of(site.node()), gradient = site.array<float>("gradient"),
          scale = site.array<float>("loss_scale"), squares = site.array<double>("squares"),
          parts = site.array<double>("workspace")](const StepCall&) {
    const float unscale = unscale_by(scale);
    const auto count = static_cast<int64_t>(pieces.size());
    context.each(count, [&](int64_t i) {
      const Piece& piece = pieces[static_cast<size_t>(i)];
      parts[i] = squared_length(gradient + piece.first, static_cast<size_t>(piece.count), unscale);
    });
    *squares = std::accumulate(parts, parts + count, 0.0);
  };
}

}  // namespace packhorse::cpu
