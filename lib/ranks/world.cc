#include "ranks/world.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <thread>

#include <mpi.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/run.h"

namespace packhorse {
namespace {

/// True if a launcher started this process: mpirun sets the size, srun with PMIx sets the rank.
bool launched() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr; }

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(
      {std::string(what) + " failed (" + text + ")", "MPI", "see the launcher's message: a rank may have died"});
}

int count_of(size_t size) {
  if (size > static_cast<size_t>(std::numeric_limits<int>::max()))
    throw Error({"one MPI message of 2^31 items or more", "", ""});
  return static_cast<int>(size);
}

}  // namespace

/// A copy of MPI_COMM_WORLD: its messages never meet those of another communicator.
struct World::Communicator {
  MPI_Comm handle = MPI_COMM_NULL;

  Communicator() { check(MPI_Comm_dup(MPI_COMM_WORLD, &handle), "MPI_Comm_dup"); }
  ~Communicator() { MPI_Comm_free(&handle); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
};

World::World() {
  if (!launched()) return;
  int provided = MPI_THREAD_SINGLE;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  mpi_ = true;
  if (provided < MPI_THREAD_SERIALIZED)
    throw Error({"this MPI library does not support MPI_THREAD_SERIALIZED", "MPI", ""});
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm local = MPI_COMM_NULL;
  check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
  MPI_Comm_size(local, &local_size_);
  MPI_Comm_free(&local);
  flags_ = std::make_unique<Communicator>();
  set_log_rank(rank_, size_);
}

World::~World() {
  flags_.reset();  // before MPI ends
  if (mpi_) MPI_Finalize();
}

void World::barrier() {
  if (mpi_) check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
}

std::string World::broadcast(const std::string& text) {
  if (!mpi_) return text;
  uint64_t size = text.size();
  check(MPI_Bcast(&size, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD), "MPI_Bcast");
  std::string result = rank_ == 0 ? text : std::string(size, '\0');
  check(MPI_Bcast(result.data(), count_of(size), MPI_CHAR, 0, MPI_COMM_WORLD), "MPI_Bcast");
  return result;
}

std::vector<std::string> World::gather(const std::string& text) {
  if (!mpi_) return {text};
  if (rank_ != 0) {
    const uint64_t size = text.size();
    check(MPI_Send(&size, 1, MPI_UINT64_T, 0, 0, MPI_COMM_WORLD), "MPI_Send");
    check(MPI_Send(text.data(), count_of(text.size()), MPI_CHAR, 0, 1, MPI_COMM_WORLD), "MPI_Send");
    return {};
  }
  std::vector<std::string> all{text};
  for (int from = 1; from < size_; ++from) {
    uint64_t size = 0;
    check(MPI_Recv(&size, 1, MPI_UINT64_T, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
    std::string part(size, '\0');
    check(MPI_Recv(part.data(), count_of(size), MPI_CHAR, from, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
    all.push_back(std::move(part));
  }
  return all;
}

void World::sum(std::span<uint64_t> values) {
  if (!mpi_) return;
  check(MPI_Allreduce(MPI_IN_PLACE, values.data(), count_of(values.size()), MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD),
        "MPI_Allreduce");
}

struct World::Request::Impl {
  MPI_Request request = MPI_REQUEST_NULL;

  static Request allreduce(void* values, size_t count, MPI_Datatype type, MPI_Op operation, MPI_Comm communicator) {
    Request started;
    started.impl_ = std::make_unique<Impl>();
    check(MPI_Iallreduce(MPI_IN_PLACE, values, count_of(count), type, operation, communicator, &started.impl_->request),
          "MPI_Iallreduce");
    return started;
  }
};
World::Request::Request() = default;
World::Request::Request(Request&&) noexcept = default;
World::Request& World::Request::operator=(Request&&) noexcept = default;
World::Request::~Request() = default;

bool World::Request::poll() {
  if (impl_ == nullptr) return true;
  int done = 0;
  check(MPI_Test(&impl_->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
  if (done != 0) impl_.reset();
  return done != 0;
}

World::Request World::start_sum(std::span<float> values) {
  if (size_ == 1) return {};
  return Request::Impl::allreduce(values.data(), values.size(), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

World::Request World::start_any(std::span<uint8_t> flags) {
  if (size_ == 1) return {};
  return Request::Impl::allreduce(flags.data(), flags.size(), MPI_UINT8_T, MPI_LOR, flags_->handle);
}

void World::abort(int exit_code) {
  std::fflush(nullptr);
  if (mpi_) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

int run_ranked_stage(const std::function<int(World&)>& body) {
  World world;
  const auto guarded = [&]() -> int {
    try {
      return body(world);
    } catch (const Answered&) {
      return kExitOk;
    } catch (...) {
      // If every rank fails, rank 0 reports the error: the others wait until its abort ends them.
      if (world.rank() > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
      throw;
    }
  };
  const int code = run_stage(guarded);
  // All ranks agree on kExitAgain; any other failure may be this rank's alone, and the others would wait forever.
  if (code != kExitOk && code != kExitAgain && world.size() > 1) world.abort(code);
  return code;
}

}  // namespace packhorse
