#include "ranks/world.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

#include <fmt/core.h>
#include <mpi.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/run.h"
#include "ranks/stopped_ranks.h"

namespace packhorse {
namespace {

static_assert(MPI_VERSION > 3 || (MPI_VERSION == 3 && MPI_SUBVERSION >= 1), "packhorse needs MPI 3.1 or newer");

/// The value of a variable of the environment, or -1 without it.
int number_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? -1 : std::atoi(text);
}

/// Who started this process, among how many, and which of them it is.
struct Launch {
  const char* launcher = "";
  int size = 0;  ///< 0: no launcher, or one that does not say
  int rank = 0;

  Launch(const char* name, const char* size_variable, const char* rank_variable)
      : launcher(name), size(std::max(0, number_of(size_variable))), rank(std::max(0, number_of(rank_variable))) {}
};

/// What the environment says. Launchers start each other: mpirun starts its daemons with srun, a daemon for each node,
/// so srun counts only where no mpirun does.
Launch launch() {
  const Launch openmpi("OpenMPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
  const Launch pmi("a launcher that speaks PMI (MPICH's mpirun, srun --mpi=pmi2)", "PMI_SIZE", "PMI_RANK");
  if (openmpi.size == 0 && pmi.size == 0) return {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"};
  return openmpi.size >= pmi.size ? openmpi : pmi;
}

/// True if this process may be one of several: a launcher says so, or gave it a rank of PMIx (srun --mpi=pmix).
bool launched() {
  return number_of("OMPI_COMM_WORLD_SIZE") > 0 || number_of("PMI_SIZE") > 0 || number_of("PMIX_RANK") >= 0 ||
         launch().size > 1;
}

/// Between the start of MPI and its end.
bool mpi_runs() {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  return started != 0 && ended == 0;
}

Error failed(const char* what, const std::string& reason) {
  return Error({fmt::format("{} failed ({})", what, reason), "MPI",
                "see the messages of MPI and of the launcher: a rank may have died, or ranks cannot reach each other"});
}

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  std::string reason = fmt::format("MPI's error {}", code);
  if (mpi_runs()) {
    std::array<char, MPI_MAX_ERROR_STRING> chars{};
    int length = 0;
    if (MPI_Error_string(code, chars.data(), &length) == MPI_SUCCESS) reason.assign(chars.data(), length);
  }
  throw failed(what, reason);
}

/// "Open MPI v4.1.4", "MPICH Version: 4.0.2": the first words of what the library says of itself.
std::string library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> chars{};
  int length = 0;
  check(MPI_Get_library_version(chars.data(), &length), "MPI_Get_library_version");
  std::istringstream words(
      std::string(chars.data(), length).substr(0, std::string_view(chars.data()).find_first_of(",\n")));
  std::string text;
  for (std::string word; words >> word;) text += (text.empty() ? "" : " ") + word;
  return text;
}

// By the standard, an error before an error handler can be set is fatal. OpenMPI 5 takes one from the environment;
// MPICH calls exit(), so that a word of ours is possible; OpenMPI 4 leaves by _exit(), with a message of its own.
void start_mpi() {
  static bool starting = false;
  setenv("OMPI_MCA_mpi_initial_errhandler", "mpi_errors_return", 0);
  std::atexit([] {
    if (starting) log_error(failed("MPI_Init_thread", "it ended this process").what());
  });
  int provided = MPI_THREAD_SINGLE;
  starting = true;
  const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  starting = false;
  check(code, "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED)
    throw Error({"this MPI library does not support MPI_THREAD_SERIALIZED", library(), "use another build of MPI"});
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
  const Launch from = launch();
  set_log_rank(from.rank, from.size);  // until MPI says it: its start can fail
  start_mpi();
  mpi_ = true;
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  // Each process would do the whole work, and all of them would write the same files.
  if (size_ == 1 && from.size > 1)
    throw Error({fmt::format("{} processes were started, but each believes that it is alone", from.size),
                 fmt::format("started by {}, built with {}", from.launcher, library()),
                 "start them with the mpirun of the MPI that they were built with, or with a --mpi that it understands "
                 "(srun --mpi=list)"});
  MPI_Comm local = MPI_COMM_NULL;
  check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
  check(MPI_Comm_size(local, &local_size_), "MPI_Comm_size");
  check(MPI_Comm_rank(local, &local_rank_), "MPI_Comm_rank");
  check(MPI_Comm_free(&local), "MPI_Comm_free");
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

std::vector<ProcessId> World::processes() {
  std::vector<ProcessId> all;
  for (const std::string& text : gather(to_json(this_process()).dump()))
    all.push_back(process_from(Json::parse(text), "rank " + std::to_string(all.size())));
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
  if (mpi_runs()) {
    // MPICH's launcher drops what it has not read of this rank's last words when it hears of the end.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }
  std::_Exit(exit_code);
}

int run_ranked_stage(const std::function<int(World&)>& body) {
  std::optional<World> world;
  const auto guarded = [&]() -> int {
    try {
      world.emplace();
      std::optional<StoppedRanks> watch;
      if (world->size() > 1) watch.emplace(*world);
      return body(*world);
    } catch (const Answered&) {
      throw;
    } catch (...) {
      // If every rank fails, rank 0 reports the error: the others wait until its abort ends them.
      if ((world ? world->rank() : launch().rank) > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
      throw;
    }
  };
  const int code = run_stage(guarded);
  // All ranks agree on kExitAgain; any other failure may be this rank's alone, and the others would wait forever.
  if (code != kExitOk && code != kExitAgain && (!world || world->size() > 1)) World::abort(code);
  return code;
}

}  // namespace packhorse
