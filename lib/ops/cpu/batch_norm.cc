#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

/// Sums of each chunk for each channel, in the node's workspace: two of them, (chunks, 2, C); behind them two arrays
/// (C).
class Partials {
 public:
  Partials(const Site& site, const View& src)
      : chunks_(src.shape), channels_(src.shape.c), data_(site.array<float>("workspace")) {}
  const Chunks& chunks() const { return chunks_; }
  int64_t channels() const { return channels_; }
  float* first(int64_t chunk) const { return data_ + 2 * chunk * channels_; }
  float* second(int64_t chunk) const { return first(chunk) + channels_; }
  float* array(int64_t number) const { return first(chunks_.count()) + number * channels_; }

 private:
  Chunks chunks_;
  int64_t channels_;
  float* data_;
};

}  // namespace

uint64_t batch_norm_workspace(Context& /*context*/, const Program& program, const Node& node) {
  const Shape shape = program.shape(node.at("src"));
  return 2 * sizeof(float) * static_cast<uint64_t>((Chunks(shape).count() + 1) * shape.c);
}

Run bind_statistics(Context& context, const Site& site) {
  return [&context, src = site.view("src"), mean = site.array<float>("mean"), variance = site.array<float>("variance"),
          partials = Partials(site, site.view("src"))](const StepCall&) {
    const Chunks& chunks = partials.chunks();
    context.each(chunks.count(), [&](int64_t chunk) {
      channel_moments(src.dtype, rows_from(src, chunks.first(chunk)), chunks.size(chunk), src.shape.c,
                      partials.first(chunk), partials.second(chunk));
    });
    const auto count = static_cast<double>(src.shape.pixels());
    for (int64_t c = 0; c < src.shape.c; ++c) {
      double sum = 0, squares = 0;
      for (int64_t chunk = 0; chunk < chunks.count(); ++chunk)
        sum += static_cast<double>(partials.first(chunk)[c]) * static_cast<double>(chunks.size(chunk));
      const double average = sum / count;
      for (int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
        const double difference = partials.first(chunk)[c] - average;
        squares += partials.second(chunk)[c] + difference * difference * static_cast<double>(chunks.size(chunk));
      }
      mean[c] = static_cast<float>(average);
      variance[c] = static_cast<float>(std::max(squares / count, 0.0));
    }
  };
}

Run bind_finish(Context& /*context*/, const Site& site) {
  return
      [mean = site.array<float>("mean"), variance = site.array<float>("variance"), scale = site.array<float>("scale"),
       shift = site.array<float>("shift"), a = site.array<float>("a"), b = site.array<float>("b"),
       count = site.count("a"), epsilon = static_cast<float>(site.node().number("epsilon"))](const StepCall&) {
        for (int64_t c = 0; c < count; ++c) {
          a[c] = scale[c] / std::sqrt(variance[c] + epsilon);
          b[c] = shift[c] - mean[c] * a[c];
        }
      };
}

Run bind_apply(Context& context, const Site& site) {
  return [&context, src = site.view("src"), residual = site.view("residual"), dst = site.view("dst"),
          a = site.array<float>("a"), b = site.array<float>("b"), relu = site.flag("relu")](const StepCall&) {
    const Chunks chunks(dst.shape);
    context.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk), size = chunks.size(chunk);
      if (residual.data == nullptr)
        scale_shift(dst.dtype, rows_from(src, first), rows_from(dst, first), size, dst.shape.c, a, b, relu);
      else
        scale_shift_add(dst.dtype, rows_from(src, first), rows_from(residual, first), rows_from(dst, first), size,
                        dst.shape.c, a, b, relu);
    });
  };
}

namespace {

/// The bound operands of apply_gradient, alone or fused.
struct ApplyGradient {
  ApplyGradient(const Site& site, const Site& workspace)
      : src(site.view("src")),
        dst_grad(site.view("dst_grad")),
        a(site.array<float>("a")),
        b(site.array<float>("b")),
        relu(site.flag("relu")),
        partials(workspace, src) {}

  // The sums of g and of g * (src - centre), for each channel.
  template <typename Take>
  void sums(const Context& context, const float* centre, const Take& take) const {
    const Chunks& chunks = partials.chunks();
    context.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk);
      gradient_sums(src.dtype, rows_from(src, first), rows_from(dst_grad, first), chunks.size(chunk), src.shape.c, a, b,
                    centre, relu, partials.first(chunk), partials.second(chunk));
    });
    for (int64_t c = 0; c < src.shape.c; ++c) {
      double sum = 0, product = 0;
      for (int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
        sum += partials.first(chunk)[c];
        product += partials.second(chunk)[c];
      }
      take(c, sum, product);
    }
  }

  // a * g + k * (src - centre) + l
  void write(const Context& context, const Gradient& gradient, const float* centre, const float* k,
             const float* l) const {
    gradient.begin(context);
    const Chunks& chunks = partials.chunks();
    context.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk);
      normalised_gradient(src.dtype, rows_from(src, first), rows_from(dst_grad, first),
                          rows_from(gradient.view(), first), chunks.size(chunk), src.shape.c, a, b, centre, k, l, relu,
                          gradient.accumulates());
    });
  }

  View src, dst_grad;
  const float *a, *b;
  bool relu;
  Partials partials;
};

}  // namespace

Run bind_apply_gradient(Context& context, const Site& site) {
  return [&context, apply = ApplyGradient(site, site), a_grad = site.array<double>("a_grad"),
          b_grad = site.array<double>("b_grad"), src_grad = Gradient(site, "src_grad"),
          zeros = std::vector<float>(static_cast<size_t>(site.count("src")))](const StepCall&) {
    apply.sums(context, zeros.data(), [&](int64_t c, double sum, double product) {
      b_grad[c] = sum;
      a_grad[c] = product;
    });
    if (src_grad.view().data != nullptr) apply.write(context, src_grad, zeros.data(), zeros.data(), zeros.data());
  };
}

Run bind_finish_gradient(Context& /*context*/, const Site& site) {
  return [a_grad = site.array<double>("a_grad"), b_grad = site.array<double>("b_grad"),
          mean = site.array<float>("mean"), variance = site.array<float>("variance"),
          scale = site.array<float>("scale"), scale_grad = site.array<float>("scale_grad"),
          shift_grad = site.array<float>("shift_grad"), k = site.array<float>("k"), l = site.array<float>("l"),
          channels = site.count("scale"), epsilon = static_cast<float>(site.node().number("epsilon")),
          share = 1.0 / site.node().number("count")](const StepCall&) {
    for (int64_t c = 0; c < channels; ++c) {
      const double inverse = 1.0 / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(epsilon));
      const double centred = a_grad[c] - mean[c] * b_grad[c], a = scale[c] * inverse;
      shift_grad[c] = static_cast<float>(b_grad[c]);
      scale_grad[c] = static_cast<float>(centred * inverse);
      if (k != nullptr) k[c] = static_cast<float>(-a * centred * inverse * inverse * share);
      if (l != nullptr) l[c] = static_cast<float>(-a * b_grad[c] * share);
    }
  };
}

Run bind_statistics_gradient(Context& context, const Site& site) {
  return [&context, src = site.view("src"), mean = site.array<float>("mean"), k = site.array<float>("k"),
          l = site.array<float>("l"), src_grad = Gradient(site, "src_grad"),
          zeros = std::vector<float>(static_cast<size_t>(site.count("src")))](const StepCall&) {
    src_grad.begin(context);
    const Chunks chunks(src.shape);
    context.each(chunks.count(), [&](int64_t chunk) {
      const Rows rows = rows_from(src, chunks.first(chunk));
      normalised_gradient(src.dtype, rows, rows, rows_from(src_grad.view(), chunks.first(chunk)), chunks.size(chunk),
                          src.shape.c, zeros.data(), zeros.data(), mean, k, l, false, src_grad.accumulates());
    });
  };
}

Run bind_batch_norm_gradient(Context& context, const Site& site) {
  const Site apply_site = site.of(site.node().body[0]), finish = site.of(site.node().body[1]);
  return [&context, apply = ApplyGradient(apply_site, site), mean = finish.array<float>("mean"),
          variance = finish.array<float>("variance"), scale_grad = finish.array<float>("scale_grad"),
          shift_grad = finish.array<float>("shift_grad"), src_grad = Gradient(site, "src_grad"),
          epsilon = static_cast<float>(finish.node().number("epsilon")),
          share = 1.0 / finish.node().number("count")](const StepCall&) {
    float *k = apply.partials.array(0), *l = apply.partials.array(1);
    apply.sums(context, mean, [&](int64_t c, double sum, double product) {
      const double inverse = 1.0 / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(epsilon));
      shift_grad[c] = static_cast<float>(sum);
      scale_grad[c] = static_cast<float>(product * inverse);
      k[c] = static_cast<float>(-apply.a[c] * product * inverse * inverse * share);
      l[c] = static_cast<float>(-apply.a[c] * sum * share);
    });
    apply.write(context, src_grad, mean, k, l);
  };
}

}  // namespace packhorse::cpu
