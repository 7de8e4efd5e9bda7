// The sums over the ranks, by the device whose memory they are in.
#pragma once

#include <memory>
#include <string>

#include "comm/comm_thread.h"
#include "device/allreduce.h"

namespace packhorse {

/// Makes the sums in a device's memory. Both must outlive them.
using MakeSums = std::unique_ptr<Allreduce> (*)(Device& device, CommThread& comm);

/// Null on one rank, whose sums are its own values. Throws an Error if nobody has said how to sum on this device.
std::unique_ptr<Allreduce> make_sums(Device& device, CommThread& comm);

/// Says how to sum on devices of this kind. The host's sums are there from the start (host_allreduce.h).
void add_sums(const std::string& device_kind, MakeSums make);

}  // namespace packhorse
