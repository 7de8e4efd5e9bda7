#include "base/run.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

namespace packhorse {

namespace {

/// What a full disk, or a reader that is gone, kept from standard output is found out here.
int checked_output(int code) {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good()) return code;
  log_error(std::string("standard output could not be written to its end (") + std::strerror(errno) +
            ")\n  try: check that its disk is not full");
  return code == kExitOk ? kExitFailure : code;
}

}  // namespace

int run_stage(const std::function<int()>& body) {
  try {
    return checked_output(body());
  } catch (const Answered&) {
    return checked_output(kExitOk);
  } catch (const Error& error) {
    log_error(error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    log_error(
        "out of memory\n  try: use a smaller batch, fewer threads or a machine with more memory (--plan shows how much "
        "is needed)");
  } catch (const std::filesystem::filesystem_error& error) {
    log_error(error.code().message() + ": " + error.path1().string() + "\n  try: check the path, and who may use it");
  } catch (const std::exception& error) {
    log_error(error.what());
  }
  return kExitFailure;
}

}  // namespace packhorse
