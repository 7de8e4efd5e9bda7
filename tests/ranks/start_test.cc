// What a job says that cannot start: MPI fails on the way, or each rank of a job believes that it is alone.
//
// MPI's profiling interface lets this binary stand between World and MPI: one call of the start can fail on one rank.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <mpi.h>

#include "base/error.h"
#include "ranks/world.h"
#include "support/subprocess.h"

namespace {

/// The call that fails on the rank that has `failing` set.
std::string failing;
bool fails(const char* call) { return failing == call; }

}  // namespace

extern "C" {

int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  return fails("MPI_Init_thread") ? MPI_ERR_OTHER : PMPI_Init_thread(argc, argv, required, provided);
}
int MPI_Comm_rank(MPI_Comm comm, int* rank) {
  return fails("MPI_Comm_rank") ? MPI_ERR_OTHER : PMPI_Comm_rank(comm, rank);
}
int MPI_Comm_size(MPI_Comm comm, int* size) {
  return fails("MPI_Comm_size") ? MPI_ERR_OTHER : PMPI_Comm_size(comm, size);
}
int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm* made) {
  return fails("MPI_Comm_split_type") ? MPI_ERR_OTHER : PMPI_Comm_split_type(comm, type, key, info, made);
}
int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* made) {
  return fails("MPI_Comm_dup") ? MPI_ERR_OTHER : PMPI_Comm_dup(comm, made);
}

}  // extern "C"

namespace packhorse {
namespace {

const std::vector<std::string> kCalls = {"MPI_Init_thread", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Comm_split_type",
                                         "MPI_Comm_dup"};

/// This binary's DISABLED_Alone.Stage, in one process of which the environment says this.
test::RunResult run_alone(std::map<std::string, std::string> environment) {
  environment.insert({{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}});
  test::RunOptions options;
  options.env = std::move(environment);
  options.unset = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"};
  return test::run_command({std::filesystem::read_symlink("/proc/self/exe").string(), "--gtest_also_run_disabled_tests",
                            "--gtest_filter=DISABLED_Alone.Stage"},
                           options);
}

TEST(Start, AnErrorOfMpiIsAMessageAndEndsTheJob) {
  for (const std::string& call : kCalls) {
    const auto result = test::run_ranked_test("Calls/DISABLED_Start.FirstMeetsAnError/" + call, 2);
    EXPECT_EQ(result.exit_code, kExitFailure) << call << ":\n" << result.all();
    EXPECT_NE(result.all().find("error: " + call + " failed ("), std::string::npos) << result.all();
    EXPECT_NE(result.all().find("  try: "), std::string::npos) << result.all();
  }
}

// The other rank waits in MPI for the one that fails, and must not wait for ever. Only if MPI has not started, it has
// nobody to wait for: MPI's start fails on both.
class DISABLED_Start : public ::testing::TestWithParam<std::string> {};
TEST_P(DISABLED_Start, FirstMeetsAnError) {
  const char* rank = std::getenv("PMI_RANK") != nullptr ? std::getenv("PMI_RANK") : std::getenv("OMPI_COMM_WORLD_RANK");
  ASSERT_NE(rank, nullptr) << "this test runs under mpirun";
  if (std::string(rank) == "0" || GetParam() == "MPI_Init_thread") failing = GetParam();
  std::exit(run_ranked_stage([](World& world) -> int {
    world.barrier();
    return kExitOk;
  }));
}
INSTANTIATE_TEST_SUITE_P(Calls, DISABLED_Start, ::testing::ValuesIn(kCalls),
                         [](const auto& call) { return call.param; });

// MPI itself may end the process while it starts: OpenMPI 4 does so by _exit(), and nothing of ours can be said. Its
// own message is not always whole.
TEST(Start, MpiThatCannotStartEndsTheJobWithAMessage) {
  const std::map<std::string, std::string> nothing_to_send_with = {
      {"OMPI_MCA_pml", "nosuch"}, {"UCX_TLS", "nosuch"}, {"FI_PROVIDER", "nosuch"}};
  const auto result = test::run_ranked_test("DISABLED_Alone.Stage", 2, nothing_to_send_with);
  EXPECT_NE(result.exit_code, kExitOk);
  EXPECT_EQ(result.all().find("terminate called"), std::string::npos) << result.all();
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> library{};
  int length = 0;
  MPI_Get_library_version(library.data(), &length);
  if (std::string(library.data()).starts_with("Open MPI v4")) return;
  EXPECT_NE(result.all().find("error: MPI_Init_thread failed ("), std::string::npos) << result.all();
}

// What each launcher says to the processes that it starts. MPI finds no other process here, whichever MPI it is: so it
// is for the processes of another MPI's launcher.
TEST(Start, ProcessesThatMpiDoesNotJoinAreRefused) {
  const std::vector<std::map<std::string, std::string>> launchers = {
      {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}},
      {{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}},
      {{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}},
  };
  for (const auto& environment : launchers) {
    const auto result = run_alone(environment);
    EXPECT_EQ(result.exit_code, kExitFailure) << result.all();
    EXPECT_NE(result.err.find("[rank 1] error: 2 processes were started, but each believes that it is alone"),
              std::string::npos)
        << result.all();
  }
}

// srun starts a daemon of mpirun on each node, or a shell: its number of tasks says nothing of the job.
TEST(Start, OneProcessOfALauncherIsAWorld) {
  const std::vector<std::map<std::string, std::string>> launchers = {
      {{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}},
      {{"PMI_SIZE", "1"}, {"PMI_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}},
      {{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}},
  };
  for (const auto& environment : launchers) {
    const auto result = run_alone(environment);
    EXPECT_EQ(result.exit_code, kExitOk) << result.all();
  }
}

TEST(DISABLED_Alone, Stage) {
  std::exit(run_ranked_stage([](World& world) -> int { return world.size() == 1 ? kExitOk : kExitUsage; }));
}

}  // namespace
}  // namespace packhorse
