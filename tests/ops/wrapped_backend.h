// A backend around another one: what a test does not change, the inner one does.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/backend.h"

namespace packhorse {

class WrappedBackend : public Backend {
 public:
  explicit WrappedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}
  std::string name() const override { return inner_->name(); }
  Device& device() const override { return inner_->device(); }
  bool prefers_side_lane() const override { return inner_->prefers_side_lane(); }
  void enter() override { inner_->enter(); }
  void begin(const StepCall& call, Stream& main) override { inner_->begin(call, main); }
  std::vector<Rewrite> algebraic() const override { return inner_->algebraic(); }
  void rewrite(Program& program, Program& refresh) override { inner_->rewrite(program, refresh); }
  bool supported(const Program& program, const Node& node) const override { return inner_->supported(program, node); }
  Choices choices() const override { return inner_->choices(); }
  bool worth(const Program& program, const std::vector<Node>& fused, const std::vector<Node>& plain) const override {
    return inner_->worth(program, fused, plain);
  }
  uint64_t workspace(const Program& program, const Node& node) override { return inner_->workspace(program, node); }
  Run bind(const Site& site) override { return inner_->bind(site); }

 protected:
  Backend& inner() { return *inner_; }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace packhorse
