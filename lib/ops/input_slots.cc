#include "ops/input_slots.h"

#include "device/host.h"

namespace packhorse {

InputSlots::InputSlots(Device& device, const LaneStreams& lanes, size_t slots, size_t pixel_bytes, size_t labels)
    : host_(device.is_host()), lanes_(lanes) {
  for (size_t s = 0; s < slots; ++s) {
    Slot slot;
    slot.taken = device.make_event();
    slot.left = device.make_event();
    if (!host_) {
      slot.pixels = DeviceMemory(device, pixel_bytes);
      slot.labels = DeviceMemory(device, labels * sizeof(int32_t));
    }
    slots_.push_back(std::move(slot));
  }
}

StepCall InputSlots::enter(const StepInput& input, int64_t image_bytes) {
  last_ = next_;
  next_ = (next_ + 1) % slots_.size();
  StepCall call{.images = static_cast<int64_t>(input.pixels.size()) / image_bytes,
                .gradient_scale = input.gradient_scale,
                .learning_rate = input.learning_rate,
                .step = input.step};
  if (host_) {
    call.pixels = host_address(input.pixels.data());
    call.labels = host_address(input.labels.data());
  } else {
    copy(input, slots_[last_], call);
  }
  return call;
}

void InputSlots::copy(const StepInput& input, Slot& slot, StepCall& call) {
  Stream& copies = lanes_.of(Lane::copies);
  copies.wait(*slot.left);
  if (!input.pixels.empty()) copies.write(slot.pixels.address(), std::as_bytes(input.pixels));
  if (!input.labels.empty()) copies.write(slot.labels.address(), std::as_bytes(input.labels));
  copies.record(*slot.taken);
  lanes_.of(Lane::main).wait(*slot.taken);
  call.pixels = slot.pixels.address();
  call.labels = slot.labels.address();
}

void InputSlots::leave() {
  Slot& slot = slots_[last_];
  Stream& main = lanes_.of(Lane::main);
  main.record(host_ ? *slot.taken : *slot.left);
}

Event& InputSlots::taken() { return *slots_[last_].taken; }

}  // namespace packhorse
