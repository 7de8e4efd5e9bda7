#include "ops/backend.h"

#include <algorithm>

#include "base/error.h"

namespace packhorse {

View Site::view(std::string_view role) const {
  const Operand* operand = node_.find(role);
  if (operand == nullptr) return {};
  const Value& value = program_.value(*operand);
  const DeviceAddress base = address_(operand->value);
  const int64_t before = operand->first * static_cast<int64_t>(size_of(value.dtype));
  return {.data = base ? (base + before).as<void>() : nullptr,
          .shape = program_.shape(*operand),
          .pixel_stride = value.shape.c,
          .dtype = value.dtype};
}

bool addends_within(const Node& node, std::initializer_list<std::string_view> results) {
  return std::all_of(node.reads.begin(), node.reads.end(), [&](const Operand& read) {
    constexpr std::string_view kSuffix = "_addend";
    if (!read.role.ends_with(kSuffix)) return true;
    const std::string_view result = std::string_view(read.role).substr(0, read.role.size() - kSuffix.size());
    return std::find(results.begin(), results.end(), result) != results.end();
  });
}

void refuse_node(const Backend& backend, const Node& node) {
  throw Error({"the backend " + backend.name() + " cannot run a node '" + std::string(node.kind->name) + "'", node.name,
               "use another backend"});
}

}  // namespace packhorse
