#include "base/run.h"

#include <new>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

namespace packhorse {

int run_stage(const std::function<int()>& body) {
  try {
    return body();
  } catch (const Answered&) {
    return kExitOk;
  } catch (const Error& error) {
    log_error(error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    log_error(
        "out of memory\n  try: use a smaller batch, fewer threads or a machine with more memory (--plan shows how much "
        "is needed)");
  } catch (const std::exception& error) {
    log_error(error.what());
  }
  return kExitFailure;
}

}  // namespace packhorse
