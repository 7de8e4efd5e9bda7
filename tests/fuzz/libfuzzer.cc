// The entry of libFuzzer. PACKHORSE_FUZZ names the target; `SEEDS FOLDER` instead of libFuzzer's arguments writes
// seeds.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "fuzz/targets.h"

namespace {

const packhorse::fuzz::Target& chosen() {
  static const packhorse::fuzz::Target& target =
      packhorse::fuzz::target_named(std::getenv("PACKHORSE_FUZZ") == nullptr ? "" : std::getenv("PACKHORSE_FUZZ"));
  return target;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  try {
    if (*count == 3 && std::string((*arguments)[1]) == "SEEDS") {
      const std::filesystem::path folder = (*arguments)[2];
      std::filesystem::create_directories(folder);
      size_t number = 0;
      for (const packhorse::fuzz::Bytes& seed : chosen().seeds())
        packhorse::write_text(folder / ("seed-" + std::to_string(number++)),
                              {reinterpret_cast<const char*>(seed.data()), seed.size()});
      std::exit(0);
    }
    chosen();
  } catch (const packhorse::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    std::exit(error.exit_code());
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  packhorse::fuzz::run(chosen(), std::as_bytes(std::span(data, size)));
  return 0;
}
