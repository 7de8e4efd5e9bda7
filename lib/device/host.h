// The host as a device: its memory is the host's, and a stream is the calling thread or a thread of its own. Where
// everything runs on the calling thread, the interface costs nothing: work is done when enqueue() returns.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

#include "device/device.h"

namespace packhorse {

/// The one host; it lives as long as the process.
Device& host_device();

/// What a backend in host memory may do, and nobody else: follow the address.
inline std::byte* host_pointer(DeviceAddress address) { return address.as<std::byte>(); }
inline DeviceAddress host_address(const void* pointer) { return DeviceAddress(reinterpret_cast<uintptr_t>(pointer)); }

/// Every event of the host is one of these, whoever runs its streams: they count records and completions.
class HostEvent : public Event {
 public:
  bool done() const override;
  void synchronize() const override;

  /// A record was enqueued: returns its number.
  uint64_t announce();
  /// The stream has come to record `number`; `failure`: what its work threw.
  void complete(uint64_t number, std::exception_ptr failure);
  /// The number of the last record so far.
  uint64_t announced() const;
  bool reached(uint64_t number) const;
  /// Returns when record `number` is complete; gives what was thrown before it.
  std::exception_ptr await(uint64_t number) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  uint64_t announced_ = 0, completed_ = 0;
  std::exception_ptr failure_;
};

}  // namespace packhorse
