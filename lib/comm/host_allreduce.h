// Sums over the ranks in host memory, with MPI, on the thread that communicates.
#pragma once

#include <memory>

#include "comm/comm_thread.h"
#include "device/allreduce.h"

namespace packhorse {

/// One for each CommThread, because all ranks start their sums in one order. Its stream runs on the thread of `comm`,
/// which must outlive it; its events are HostEvents. In the stream
/// - a sum starts beside the sums before it;
/// - a record is complete when everything before it is, and holds nothing back;
/// - a wait holds back what comes after it, not the sums before it. Its seconds begin when the stream comes to it;
/// - other work, and a copy, runs when everything before it is done. It must be short: meanwhile no sum moves.
///
/// A message that fails ends the stream, and with it what else communicates through `comm`. The destructor waits until
/// the stream is empty.
///
/// With one rank a sum does nothing, and the stream is a thread of the host, so that whoever enqueues does not stand
/// still when the stream waits for an event.
std::unique_ptr<Allreduce> make_host_allreduce(CommThread& comm);

}  // namespace packhorse
