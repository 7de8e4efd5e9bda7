#include "comm/sums.h"

#include <map>

#include "base/error.h"
#include "comm/host_allreduce.h"
#include "device/host.h"

namespace packhorse {

namespace {

std::map<std::string, MakeSums>& known() {
  static std::map<std::string, MakeSums> known = {
      {host_device().name(), [](Device&, CommThread& comm) { return make_host_allreduce(comm); }}};
  return known;
}

}  // namespace

std::unique_ptr<Allreduce> make_sums(Device& device, CommThread& comm) {
  if (comm.world().size() == 1) return nullptr;
  const auto found = known().find(device.name());
  if (found == known().end())
    throw Error({"there are no sums over ranks on this device", device.name(), "run one rank, or use another backend"});
  return found->second(device, comm);
}

void add_sums(const std::string& device_name, MakeSums make) { known()[device_name] = make; }

}  // namespace packhorse
