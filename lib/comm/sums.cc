#include "comm/sums.h"

#include <map>

#include "base/error.h"
#include "comm/host_allreduce.h"
#include "device/host.h"

namespace packhorse {

namespace {

std::map<std::string, MakeSums>& known() {
  static std::map<std::string, MakeSums> known = {
      {host_device().kind(), [](Device&, CommThread& comm) { return make_host_allreduce(comm); }}};
  return known;
}

}  // namespace

std::unique_ptr<Allreduce> make_sums(Device& device, CommThread& comm) {
  if (comm.world().size() == 1) return nullptr;
  const auto found = known().find(device.kind());
  if (found == known().end())
    throw Error({"there are no sums over ranks on this device", device.name(), "run one rank, or use another backend"});
  return found->second(device, comm);
}

void add_sums(const std::string& device_kind, MakeSums make) { known()[device_kind] = make; }

}  // namespace packhorse
