// The device that a network runs on: its memory, and streams of work on it.
//
// Rules:
// - Only the device follows a DeviceAddress. The host reads and writes device memory through a stream.
// - Work of one stream runs in the order in which it was enqueued. Streams run beside each other, in any order that
//   events leave open.
// - Memory has one owner, is allocated before the first step and freed after the last.
//
// Here are the interfaces. A device is a file of its own, which implements them: host.h.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace packhorse {

/// A place in a device's memory. It is no pointer: the host can count with it, but not follow it.
class DeviceAddress {
 public:
  constexpr DeviceAddress() = default;
  explicit constexpr DeviceAddress(uintptr_t bits) : bits_(bits) {}
  /// False: nowhere.
  explicit constexpr operator bool() const { return bits_ != 0; }
  constexpr DeviceAddress operator+(int64_t bytes) const {
    return DeviceAddress(bits_ + static_cast<uintptr_t>(bytes));
  }
  auto operator<=>(const DeviceAddress&) const = default;  // NOLINT(modernize-use-nullptr): of the compiler's own 0
  /// As the device's own code takes it. Only that code may follow it.
  constexpr uintptr_t bits() const { return bits_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(bits_);
  }

 private:
  uintptr_t bits_ = 0;
};

/// A point in a stream's work, recorded by Stream::record(). It can be recorded again and again; who waits, waits for
/// the last record so far. Before the first one it is done. It must outlive the work that records it or waits for it.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool done() const = 0;
  /// The host waits. Throws what the work before the event threw.
  virtual void synchronize() const = 0;
};

/// Work of a device, in order. Work that throws ends the stream: what was enqueued behind it is dropped, events behind
/// it are done and carry the exception to whoever waits for them.
class Stream {
 public:
  using Work = std::function<void()>;

  virtual ~Stream() = default;
  /// `work` makes the device do something: it is called once, now or later, on any thread. `seconds`: the device's time
  /// for it is added there, if it can measure it.
  virtual void enqueue(Work work, double* seconds = nullptr) = 0;
  /// Copies. The host's bytes must stay as they are (or must not be looked at) until an event behind the copy is done.
  virtual void write(DeviceAddress to, std::span<const std::byte> from) = 0;
  virtual void read(std::span<std::byte> to, DeviceAddress from) = 0;
  virtual void record(Event& event) = 0;
  /// What is enqueued from now on waits for the event's last record so far. `seconds`: as above, of standing still.
  virtual void wait(const Event& event, double* seconds = nullptr) = 0;
  /// The host waits until all work is done. Throws what the work threw.
  virtual void synchronize() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  /// What devices of one sort have in common: "cpu", "cuda".
  virtual std::string kind() const { return name(); }
  virtual uint64_t memory_bytes() const = 0;  ///< in total
  /// True if the device's memory is the host's: a host address is a device address, and nothing need be copied.
  virtual bool is_host() const { return false; }

  /// `beside`: the work may run beside the thread that enqueues it. Otherwise a device that can do without does it
  /// before enqueue() returns.
  virtual std::unique_ptr<Stream> make_stream(bool beside) = 0;
  virtual std::unique_ptr<Event> make_event() = 0;
  /// Calls `enqueue`, which enqueues the same work each time: what differs lies in memory. It begins and ends on
  /// `main`; other streams join in between. `key` names it. A device may record the work once and replay it in later
  /// calls.
  virtual void repeat(Stream& main, const void* key, const std::function<void()>& enqueue);
  /// The work of this key is not repeated any more. Nothing of it may be under way.
  virtual void forget(const void* /*key*/) noexcept {}

  // For the owners of memory below.

  /// Zeros, aligned to at least 64 bytes. Throws an Error with the size and the device's memory if it is not enough.
  virtual DeviceAddress allocate(size_t bytes) = 0;
  virtual void free(DeviceAddress address, size_t bytes) noexcept = 0;
  /// Zeros in the host's memory, from where the device copies without help (page-locked).
  virtual std::byte* allocate_host(size_t bytes) = 0;
  virtual void free_host(std::byte* address, size_t bytes) noexcept = 0;
};

/// One block of a device's memory: initially zeros.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  /// Throws as Device::allocate(). `device` must outlive it.
  DeviceMemory(Device& device, size_t bytes);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Nowhere if it has no bytes.
  DeviceAddress address() const { return address_; }
  size_t bytes() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  DeviceAddress address_;
  size_t bytes_ = 0;
};

/// One block of host memory for copies to and from a device: initially zeros.
class HostMemory {
 public:
  HostMemory() = default;
  /// Throws an Error if there is not enough. `device` must outlive it.
  HostMemory(Device& device, size_t bytes);
  ~HostMemory();
  HostMemory(HostMemory&& other) noexcept;
  HostMemory& operator=(HostMemory&& other) noexcept;
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  std::span<std::byte> bytes() const { return {address_, size_}; }

 private:
  Device* device_ = nullptr;
  std::byte* address_ = nullptr;
  size_t size_ = 0;
};

/// An array in such memory.
template <typename T>
class HostArray {
 public:
  HostArray() = default;
  HostArray(Device& device, size_t count) : memory_(device, count * sizeof(T)), count_(count) {}
  T* data() const { return reinterpret_cast<T*>(memory_.bytes().data()); }
  size_t size() const { return count_; }
  T& operator[](size_t i) const { return data()[i]; }
  T* begin() const { return data(); }
  T* end() const { return data() + count_; }
  std::span<T> span() const { return {data(), count_}; }

 private:
  HostMemory memory_;
  size_t count_ = 0;
};

}  // namespace packhorse
