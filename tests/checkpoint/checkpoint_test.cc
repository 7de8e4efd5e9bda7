#include "checkpoint/checkpoint.h"

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "checkpoint/checkpoint_folder.h"
#include "hdf5/hdf5_file.h"
#include "support/state_arrays.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

Graph tiny_graph() {
  Graph graph;
  graph.name = "tiny";
  graph.image_size = 8;
  graph.classes = 3;
  const auto parameter = [&](const std::string& name, std::vector<int64_t> shape, size_t count) {
    graph.parameters.push_back({name, std::move(shape), graph.parameter_count, count, Init::zeros, true});
    graph.parameter_count += count;
  };
  parameter("1/conv/weight", {4, 3, 3, 3}, 108);
  parameter("1/bn/gamma", {4}, 4);
  parameter("fc/weight", {3, 4}, 12);
  graph.statistics.push_back({"1/bn/mean", 0, 4, 0});
  graph.statistics.push_back({"1/bn/variance", 4, 4, 1});
  graph.statistic_count = 8;
  return graph;
}

/// Arrays in which every bit matters: they contain a NaN, a denormal and a negative zero.
struct State {
  explicit State(const Graph& graph, uint64_t seed = 1)
      : parameters(graph.parameter_count), statistics(graph.statistic_count), momentum(graph.parameter_count) {
    RandomStream random(seed, RandomUse::test, 0, 0);
    for (auto* array : {&parameters, &statistics, &momentum})
      for (float& value : *array) value = random.normal();
    parameters[0] = -0.0f;
    parameters[1] = 1e-42f;
    momentum[2] = std::bit_cast<float>(0x7fc12345u);
  }
  std::vector<float> parameters, statistics, momentum;
  std::vector<StateBuffer> arrays() {
    return {{"weights", parameters}, {"statistics", statistics, true}, {"momentum", momentum}};
  }
  bool same_bits(const State& other) const {
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    return same(parameters, other.parameters) && same(statistics, other.statistics) && same(momentum, other.momentum);
  }
};

CheckpointInfo tiny_info() {
  CheckpointInfo info;
  info.network = "tiny";
  info.image_size = 8;
  info.classes = 3;
  info.classes_crc32c = "0123abcd";
  info.data_crc32c = "deadbeef";
  info.resampling = "triangle/1";
  info.epoch = 2;
  info.batches_taken = (int64_t{1} << 40) + 7;
  info.updates_applied = (int64_t{1} << 40) + 5;
  info.loss_scale = 65536;
  info.updates_at_loss_scale = 1999;
  info.choices = {{"cpu | oneDNN 2.6 | conv 3x3 64 64", "winograd"}};
  info.epoch_so_far = {{"steps", 3}, {"loss", 1.25}};
  info.settings = {{"lr", 0.1}, {"network", "tiny"}};
  info.results = {{"top1", 0.5}};
  return info;
}

void save(const std::filesystem::path& path, const CheckpointInfo& info, State state) {
  save_checkpoint(path, info, tiny_graph(), test::to_save(state.arrays()));
}

TEST(Checkpoint, KeepsEveryBit) {
  const TempDir folder;
  const Graph graph = tiny_graph();
  const State written(graph);
  save(folder / "a.h5", tiny_info(), written);
  const CheckpointInfo info = read_checkpoint_info(folder / "a.h5");
  EXPECT_EQ(info.network, "tiny");
  EXPECT_EQ(info.image_size, 8);
  EXPECT_EQ(info.classes, 3);
  EXPECT_EQ(info.classes_crc32c, "0123abcd");
  EXPECT_EQ(info.data_crc32c, "deadbeef");
  EXPECT_EQ(info.resampling, "triangle/1");
  EXPECT_EQ(info.epoch, 2);
  EXPECT_EQ(info.batches_taken, (int64_t{1} << 40) + 7);
  EXPECT_EQ(info.updates_applied, (int64_t{1} << 40) + 5);
  EXPECT_EQ(info.loss_scale, 65536);
  EXPECT_EQ(info.updates_at_loss_scale, 1999);
  EXPECT_EQ(info.choices, tiny_info().choices);
  EXPECT_EQ(info.epoch_so_far, tiny_info().epoch_so_far);
  EXPECT_EQ(info.settings, tiny_info().settings);
  EXPECT_EQ(info.results, tiny_info().results);
  State read(graph, 2);
  load_checkpoint(folder / "a.h5", graph, read.arrays());
  EXPECT_TRUE(read.same_bits(written));
}

TEST(Checkpoint, WhatNoTrainingWritesIsRefused) {
  const std::vector<void (*)(CheckpointInfo&)> forgeries = {
      [](CheckpointInfo& i) { i.batches_taken = -8; },
      [](CheckpointInfo& i) { i.batches_taken = int64_t{1} << 62; },
      [](CheckpointInfo& i) { i.updates_applied = i.batches_taken + 1; },
      [](CheckpointInfo& i) { i.updates_at_loss_scale = -1; },
      [](CheckpointInfo& i) { i.epoch = -1; },
      [](CheckpointInfo& i) { i.image_size = 0; },
      [](CheckpointInfo& i) { i.image_size = 1 << 20; },
      [](CheckpointInfo& i) { i.classes = 0; },
      [](CheckpointInfo& i) { i.loss_scale = 0; },
      [](CheckpointInfo& i) { i.loss_scale = std::numeric_limits<double>::infinity(); },
      [](CheckpointInfo& i) { i.loss_scale = std::nan(""); },
  };
  for (size_t n = 0; n < forgeries.size(); ++n) {
    const TempDir folder;
    CheckpointInfo info = tiny_info();
    forgeries[n](info);
    save(folder / "a.h5", info, State(tiny_graph()));
    EXPECT_THROW(read_checkpoint_info(folder / "a.h5"), DamageError) << n;
  }
}

// Those of a large network on a GPU are hundreds of lines.
TEST(Checkpoint, KeepsAnyNumberOfChoices) {
  const TempDir folder;
  CheckpointInfo info = tiny_info();
  for (int i = 0; i < 2000; ++i)
    info.choices["NVIDIA H200 | cuDNN 9.19.0 | forward f16 n256 h56 w56 c64 o" + std::to_string(i)] = "eng2_k2=5_k25=0";
  ASSERT_GT(info.choices.dump().size(), size_t{1} << 17);
  save(folder / "a.h5", info, State(tiny_graph()));
  EXPECT_EQ(read_checkpoint_info(folder / "a.h5").choices, info.choices);
}

TEST(Checkpoint, LoadsOnlyTheArraysThatAreAskedFor) {
  const TempDir folder;
  const Graph graph = tiny_graph();
  State written(graph), read(graph, 3), expected(graph, 3);
  const std::vector<StateBuffer> all = read.arrays(), written_arrays = written.arrays();
  const std::span some = std::span(all).first(2);  // without momentum
  save(folder / "a.h5", tiny_info(), written);
  load_checkpoint(folder / "a.h5", graph, some);
  expected.parameters = written.parameters;
  expected.statistics = written.statistics;
  EXPECT_TRUE(read.same_bits(expected));

  save_checkpoint(folder / "b.h5", tiny_info(), graph, test::to_save(std::span(written_arrays).first(2)));
  EXPECT_NO_THROW(load_checkpoint(folder / "b.h5", graph, some));
  EXPECT_THROW(load_checkpoint(folder / "b.h5", graph, all), Error) << "it has no momentum";
}

TEST(Checkpoint, StoresEachArrayBelowItsName) {
  const TempDir folder;
  State state(tiny_graph());
  std::vector<float> second = state.momentum;
  std::vector<StateBuffer> arrays = state.arrays();
  arrays.push_back({"second_moment", second});  // an optimizer may bring any array
  save_checkpoint(folder / "a.h5", tiny_info(), tiny_graph(), test::to_save(arrays));
  const Hdf5Reader file(folder / "a.h5");
  EXPECT_EQ(file.names(""), (std::vector<std::string>{"choices", "state"}));
  EXPECT_EQ(file.names("state"), (std::vector<std::string>{"momentum", "second_moment", "statistics", "weights"}));
  EXPECT_EQ(file.shape("state/weights/1/conv/weight"), (std::vector<int64_t>{4, 3, 3, 3}));
  EXPECT_EQ(file.shape("state/second_moment/fc/weight"), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(file.shape("state/statistics/1/bn/variance"), (std::vector<int64_t>{4}));
  EXPECT_TRUE(file.has_attribute("state/second_moment/fc/weight", "crc32c"));
  EXPECT_EQ(file.text_attribute("", "schema"), "packhorse/checkpoint/3");
  EXPECT_EQ(file.attribute_names(""),
            (std::vector<std::string>{"batches_taken", "classes", "classes_crc32c", "data_crc32c", "epoch",
                                      "epoch_so_far", "image_size", "loss_scale", "network", "resampling", "results",
                                      "schema", "settings", "updates_applied", "updates_at_loss_scale"}));
}

TEST(Checkpoint, AnArrayOfAnotherLengthIsRefused) {
  const TempDir folder;
  const Graph graph = tiny_graph();
  State state(graph);
  save(folder / "a.h5", tiny_info(), state);
  for (const size_t which : {0, 1, 2}) {
    std::vector<StateBuffer> arrays = state.arrays();
    arrays[which].values = arrays[which].values.first(arrays[which].values.size() - 1);
    EXPECT_THROW(load_checkpoint(folder / "a.h5", graph, arrays), Error) << arrays[which].name;
    EXPECT_THROW(save_checkpoint(folder / "b.h5", tiny_info(), graph, test::to_save(arrays)), Error)
        << arrays[which].name;
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "b.h5"));
}

TEST(Checkpoint, SameStateSameBytes) {
  const TempDir folder;
  const State state(tiny_graph());
  save(folder / "a.h5", tiny_info(), state);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 can store times, in whole seconds
  save(folder / "b.h5", tiny_info(), state);
  EXPECT_EQ(read_text(folder / "a.h5"), read_text(folder / "b.h5"));
}

TEST(Checkpoint, OpensInOtherTools) {
  const TempDir folder;
  save(folder / "a.h5", tiny_info(), State(tiny_graph()));
  const auto result = test::run_command({"h5dump", "-H", (folder / "a.h5").string()});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.out.find("( 4, 3, 3, 3 )"), std::string::npos) << result.out;
}

TEST(Checkpoint, EveryChangedByteIsDetected) {
  const TempDir folder;
  const Graph graph = tiny_graph();
  save(folder / "a.h5", tiny_info(), State(graph));
  const std::string sound = read_text(folder / "a.h5");
  // All of the first 2 KiB and the last 1 KiB, and every 17th byte between.
  for (size_t at = 0; at < sound.size(); at += at < 2048 || at + 1024 > sound.size() ? 1 : 17) {
    std::string damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    std::ofstream(folder / "b.h5", std::ios::binary) << damaged;
    State read(graph, 2);
    EXPECT_THROW(load_checkpoint(folder / "b.h5", graph, read.arrays()), DamageError) << "byte " << at;
  }
  for (const size_t length : {size_t{0}, size_t{100}, size_t{512}, sound.size() / 2, sound.size() - 1}) {
    std::ofstream(folder / "b.h5", std::ios::binary) << sound.substr(0, length);
    EXPECT_THROW(read_checkpoint_info(folder / "b.h5"), DamageError) << length << " bytes";
  }
}

TEST(Checkpoint, AnEditedArrayIsDetected) {
  // Other tools write a file without our user block: only the checksums of the arrays can detect the change.
  const TempDir folder;
  const Graph graph = tiny_graph();
  save(folder / "a.h5", tiny_info(), State(graph));
  std::string bytes = read_text(folder / "a.h5").substr(512);  // without the user block
  State state(graph);
  load_checkpoint(folder / "a.h5", graph, state.arrays());
  const std::string array(reinterpret_cast<const char*>(state.parameters.data()), 108 * sizeof(float));
  const size_t at = bytes.find(array);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 5] = static_cast<char>(bytes[at + 5] ^ 1);
  std::ofstream(folder / "d.h5", std::ios::binary) << bytes;
  EXPECT_THROW(load_checkpoint(folder / "d.h5", graph, state.arrays()), DamageError);
}

TEST(Checkpoint, RefusesACheckpointOfAnotherNetwork) {
  const TempDir folder;
  Graph graph = tiny_graph();
  State state(graph);
  save(folder / "a.h5", tiny_info(), state);
  const auto load = [&] { load_checkpoint(folder / "a.h5", graph, state.arrays()); };
  EXPECT_NO_THROW(load());
  graph.name = "other";
  EXPECT_THROW(load(), Error);
  graph = tiny_graph();
  graph.classes = 4;
  EXPECT_THROW(load(), Error);
  graph = tiny_graph();
  graph.parameters[0].shape = {3, 4, 3, 3};
  EXPECT_THROW(load(), Error);
  graph = tiny_graph();
  graph.parameters[1].name = "1/bn/beta";
  EXPECT_THROW(load(), Error);
}

TEST(Checkpoint, RefusesOtherFiles) {
  const TempDir folder;
  std::ofstream(folder / "text.h5") << "not HDF5";
  EXPECT_THROW(read_checkpoint_info(folder / "text.h5"), DamageError);
  EXPECT_THROW(read_checkpoint_info(folder / "missing.h5"), Error);
  Hdf5Writer file(folder / "other.h5");
  file.attribute("", "schema", std::string("packhorse/metrics/1"));
  file.commit();
  EXPECT_THROW(read_checkpoint_info(folder / "other.h5"), DamageError);
}

TEST(Checkpoint, RefusesANewerSchemaByNameAndNumber) {
  const TempDir folder;
  Hdf5Writer file(folder / "newer.h5");
  file.attribute("", "schema", std::string("packhorse/checkpoint/99"));
  file.commit();
  try {
    read_checkpoint_info(folder / "newer.h5");
    ADD_FAILURE() << "it was read";
  } catch (const DamageError&) {
    ADD_FAILURE() << "an intact file of another version is no damage";
  } catch (const Error& error) {
    for (const char* word : {"packhorse/checkpoint/99", "a newer", kCheckpointSchema})
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(Checkpoint, FullDiskIsAnErrorAndLeavesNothing) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TempDir folder;
  const State state(tiny_graph());
  save(folder / "a.h5", tiny_info(), state);
  const std::string before = read_text(folder / "a.h5");
  std::filesystem::create_symlink("/dev/full", folder / "a.h5.part");
  CheckpointInfo info = tiny_info();
  info.batches_taken = 8;
  EXPECT_THROW(save(folder / "a.h5", info, state), Error);
  EXPECT_EQ(read_text(folder / "a.h5"), before);
}

class CheckpointFolderTest : public ::testing::Test {
 protected:
  void put(int64_t step) {
    CheckpointInfo info = tiny_info();
    info.batches_taken = info.updates_applied = step;
    save(checkpoints_.step_path(step), info, State(tiny_graph(), static_cast<uint64_t>(step)));
  }
  void damage(int64_t step) {
    std::string bytes = read_text(checkpoints_.step_path(step));
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    std::ofstream(checkpoints_.step_path(step), std::ios::binary) << bytes;
  }
  /// The step that training would continue from; -1 for none.
  int64_t newest() {
    int64_t step = -1;
    checkpoints_.load_newest(
        [&](const std::filesystem::path& path) { step = read_checkpoint_info(path).batches_taken; });
    return step;
  }
  TempDir folder_;
  CheckpointFolder checkpoints_{folder_.path(), 2};
};

TEST_F(CheckpointFolderTest, TakesTheNewestThatIsSound) {
  EXPECT_EQ(newest(), -1);
  put(9);
  put(10);
  put(100000000);  // nine digits: order is by number, not by name
  std::ofstream(folder_ / "step-00000200.h5.part") << "half";
  std::ofstream(folder_ / "step-x.h5") << "no number";
  std::ofstream(folder_ / "best.h5") << "no step";
  EXPECT_EQ(newest(), 100000000);
  damage(100000000);
  EXPECT_EQ(newest(), 10);
  damage(10);
  damage(9);
  EXPECT_THROW(newest(), DamageError);
}

TEST_F(CheckpointFolderTest, DoesNotSkipACheckpointForOtherErrors) {
  put(1);
  put(2);
  int calls = 0;
  EXPECT_THROW(checkpoints_.load_newest([&](const auto&) {
    ++calls;
    throw Error({"other settings", "", ""});
  }),
               Error);
  EXPECT_EQ(calls, 1);
}

TEST_F(CheckpointFolderTest, PruneKeepsTheNewest) {
  for (const int64_t step : {1, 2, 3, 4}) put(step);
  std::ofstream(folder_ / "step-00000005.h5.part") << "half";
  std::ofstream(folder_ / "best.h5") << "kept";
  checkpoints_.prune();
  EXPECT_EQ(checkpoints_.steps(), (std::vector<int64_t>{3, 4}));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "step-00000005.h5.part"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "best.h5"));
  checkpoints_.clear();
  EXPECT_TRUE(checkpoints_.steps().empty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "best.h5"));
}

}  // namespace
}  // namespace packhorse
