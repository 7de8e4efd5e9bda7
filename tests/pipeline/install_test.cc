// An installation: what `make install` copies runs after it was moved, for a user who cannot write there, and without
// the checkout. Every path on the way has a space in it.
#include <unistd.h>

#include <cctype>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// Each file and folder below `root`, with what shows that nobody wrote to it.
std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> state_of(const fs::path& root) {
  std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> state;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    state[entry.path().string()] = {entry.is_regular_file() ? entry.file_size() : 0, entry.last_write_time()};
  }
  return state;
}

std::set<std::string> files_below(const fs::path& root) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) files.insert(fs::relative(entry.path(), root).string());
  }
  return files;
}

/// Whether an absolute path is anywhere in the text, not as the end of a longer one.
bool names(const std::string& text, const std::string& path) {
  for (size_t at = text.find(path); at != std::string::npos; at = text.find(path, at + 1)) {
    const char before = at == 0 ? ' ' : text[at - 1];
    if (std::isalnum(static_cast<unsigned char>(before)) == 0 &&
        std::string_view("/._-").find(before) == std::string_view::npos)
      return true;
  }
  return false;
}

class Installation : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = std::make_unique<TempDir>();
    fs::permissions(files_->path(), fs::perms(0755));
    first_ = *files_ / "first home/packhorse";
    prefix_ = *files_ / "moved here/packhorse";
    installed_ = make("install", "PREFIX='" + first_.string() + "'");
    fs::create_directory(prefix_.parent_path());
    if (installed_.exit_code == 0) fs::rename(first_, prefix_);
  }
  static void TearDownTestSuite() { files_.reset(); }
  void SetUp() override { ASSERT_EQ(installed_.exit_code, 0) << installed_.all(); }

  /// As an administrator would whose own files nobody else can read.
  static RunResult make(const std::string& target, const std::string& settings) {
    return run_shell("umask 077 && make -C '" + source_path("").string() + "' " + target + " " + settings,
                     {.unset = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}});
  }

  static std::unique_ptr<TempDir> files_;
  static fs::path first_, prefix_;
  static RunResult installed_;
};

std::unique_ptr<TempDir> Installation::files_;
fs::path Installation::first_, Installation::prefix_;
RunResult Installation::installed_;

/// Starts commands without the rights of root, and with the checkout out of sight.
class Outsider {
 public:
  explicit Outsider(fs::path home) : home_(std::move(home)) {
    fs::create_directories(home_ / "tmp");
    if (geteuid() == 0) {
      for (const fs::path& folder : {home_, home_ / "tmp"}) {
        if (chown(folder.c_str(), kNobody, kNobody) != 0) throw std::runtime_error("chown " + folder.string());
      }
    }
    hides_ = run({"true"}).exit_code == 0;
  }
  bool hides() const { return hides_; }

  RunResult run(const std::vector<std::string>& command) const {
    std::vector<std::string> words;
    if (hides_) {
      words = {"unshare", "--mount"};
      if (geteuid() != 0) words.insert(words.end(), {"--user", "--map-root-user"});
      words.insert(words.end(), {"bash", "-c", R"(mount -t tmpfs none "$0" && exec "$@")", source_path("").string()});
    }
    if (geteuid() == 0) {
      words.insert(words.end(), {"setpriv", "--reuid=" + std::to_string(kNobody), "--regid=" + std::to_string(kNobody),
                                 "--clear-groups"});
    }
    words.insert(words.end(), command.begin(), command.end());
    RunOptions options = Project().options();
    options.folder = home_;
    options.env["HOME"] = "/nonexistent";
    options.env["TMPDIR"] = (home_ / "tmp").string();
    options.env["PACKHORSE_RANKS"] = "2";
    options.unset.insert(options.unset.end(), {"PACKHORSE_DEMO_DIR", "WNSEARCHDIR"});
    return run_command(words, options);
  }

 private:
  static constexpr unsigned kNobody = 65534;
  fs::path home_;
  bool hides_ = true;
};

TEST_F(Installation, NoFileNamesTheCheckoutOrTheFirstPlace) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(prefix_)) {
    if (!entry.is_regular_file()) continue;
    const std::string text = read_text(entry.path());
    for (const fs::path& place : {fs::path(PACKHORSE_ROOT), first_}) {
      EXPECT_FALSE(names(text, place.string())) << entry.path() << " names " << place;
    }
    ++files;
  }
  EXPECT_GE(files, 30);
}

TEST_F(Installation, EverybodyMayReadItWhateverTheUmask) {
  for (const auto& entry : fs::recursive_directory_iterator(prefix_)) {
    const bool runs = entry.is_directory() || entry.path().parent_path().filename() == "bin" ||
                      entry.path().extension() == ".sbatch" || entry.path().extension() == ".sh";
    EXPECT_EQ(entry.status().permissions(), fs::perms(runs ? 0755 : 0644)) << entry.path();
  }
}

TEST_F(Installation, RunsEveryStageForAUserWhoCannotWriteThere) {
  const fs::path home = *files_ / "a user";
  const Outsider user(home);
  write_folders(home / "own images", {.classes = 4, .per_class = 20});
  write_json(home / "own set.json", {{"schema", kDatasetSchema},
                                     {"name", "own"},
                                     {"train", {{"source", "own images"}}},
                                     {"validation", {{"per_class", 2}}},
                                     {"stages", {{"pack", {{"shards", 3}}}, {"train", Project::short_training()}}}});
  const auto before = state_of(prefix_);
  const std::string jobs = prefix_ / "share/packhorse/jobs/";
  const RunResult pipeline = user.run({jobs + "pipeline.sh", "own set.json", "--local"});
  ASSERT_EQ(pipeline.exit_code, 0) << pipeline.all();
  EXPECT_NE(pipeline.err.find("pack: 2 rank(s)"), std::string::npos) << pipeline.err;
  EXPECT_TRUE(fs::exists(home / "runs/own/export/report.html"));
  const std::string image = "own images/" + class_id(1) + "/" + member_name(1, 0);
  const RunResult predicted = user.run({jobs + "predict.sbatch", "runs/own/train/manifest.json", image});
  ASSERT_EQ(predicted.exit_code, 0) << predicted.all();
  EXPECT_NE(predicted.out.find(class_id(1)), std::string::npos) << predicted.out;
  EXPECT_TRUE(state_of(prefix_) == before) << "something was written below PREFIX";
  if (fs::exists(built_executable("x").parent_path().parent_path() / "lib/packhorse/packhorse-cuda.so")) {
    const RunResult result = user.run(
        {prefix_ / "bin/packhorse-evaluate", "runs/own/train/manifest.json", "--backend", "cuda", "--out", "on a GPU"});
    // A machine without a GPU: the plug-in is there, and says so.
    EXPECT_TRUE(result.exit_code == 0 || result.err.find("there is no GPU to compute on: ") != std::string::npos)
        << result.all();
    EXPECT_EQ(result.err.find("this build has no"), std::string::npos) << result.err;
  }

  // The checkout's job files make the same bytes of the same description.
  RunOptions there = Project().options();
  there.folder = *files_ / "checkout's user";
  fs::create_directory(there.folder);
  const RunResult own =
      run_command({source_path("jobs/pack.sbatch").string(), (home / "own set.json").string()}, there);
  ASSERT_EQ(own.exit_code, 0) << own.all();
  const auto made = [](const fs::path& folder, const std::string& stage, const std::vector<std::string>& roles) {
    return contents_of(StageManifest::load(folder / "runs/own" / stage / "manifest.json"), roles);
  };
  EXPECT_TRUE(made(home, "list", kListRoles) == made(there.folder, "list", kListRoles));
  const auto shards = made(home, "pack", kShardRoles);
  EXPECT_GE(shards.size(), 9U);
  EXPECT_TRUE(shards == made(there.folder, "pack", kShardRoles));
  if (!user.hides())
    GTEST_SKIP() << "all holds, but the checkout was in sight: this user may not mount a folder over it";
}

TEST_F(Installation, FindsItsDescriptionsTablesAndWordNet) {
  const fs::path home = *files_ / "another user";
  const Outsider user(home);
  const std::string description = prefix_ / "share/packhorse/data_manifests/demo.json";
  const fs::path wordnet = prefix_ / "share/wordnet/data.noun";
  fs::create_directories(wordnet.parent_path());
  fs::copy_file("/usr/share/wordnet/data.noun", wordnet);
  const RunResult data = user.run(
      {prefix_ / "bin/packhorse-demo-data", "own data", "--train-per-class", "3", "--validation-per-class", "2"});
  ASSERT_EQ(data.exit_code, 0) << data.all();
  const RunResult listed = user.run(
      {"env", "DEMO_DATA=" + (home / "own data").string(), prefix_ / "share/packhorse/jobs/list.sbatch", description});
  fs::remove_all(prefix_ / "share/wordnet");
  ASSERT_EQ(listed.exit_code, 0) << listed.all();
  const StageManifest manifest = StageManifest::load(home / "runs/demo/list/manifest.json");
  EXPECT_EQ(count_of(manifest, "listed"), 50);
  EXPECT_EQ(manifest.settings.value("classes", ""), "demo-classes.tsv") << "it moves with the description";
  EXPECT_EQ(manifest.dataset_folder, prefix_ / "share/packhorse/data_manifests");
  EXPECT_EQ(manifest.settings.value("wordnet", ""), wordnet);
}

TEST_F(Installation, GoesBelowDestdirAndIsRemovedAgainWithoutTheFilesOfOthers) {
  const fs::path root = *files_ / "a package";
  const std::string settings = "DESTDIR='" + root.string() + "' PREFIX=/usr";
  const RunResult result = make("install", settings);
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(files_below(root / "usr"), files_below(prefix_));
  EXPECT_EQ(files_below(root).size(), files_below(prefix_).size()) << "a file went past PREFIX";
  write_text(root / "usr/bin/other", "");
  write_text(root / "usr/share/packhorse/data_manifests/own.json", "{}");
  const RunResult removed = make("uninstall", settings);
  ASSERT_EQ(removed.exit_code, 0) << removed.all();
  EXPECT_EQ(files_below(root / "usr"), (std::set<std::string>{"bin/other", "share/packhorse/data_manifests/own.json"}));
  EXPECT_FALSE(fs::exists(root / "usr/share/doc/packhorse"));
}

TEST(RunPackages, AreThoseOfAFileOrOfTheLibrariesThatItLinks) {
  if (run_shell("command -v dpkg-query").exit_code != 0) GTEST_SKIP() << "dpkg-query is not installed";
  const TempDir folder;
  const std::string ls = fs::canonical("/bin/ls").string();
  fs::copy_file(ls, folder / "ours");
  fs::create_symlink("two", folder / "one");
  fs::create_symlink(ls, folder / "two");
  const auto owners = [&](const std::string& file) {
    const RunResult result = run_command({source_path("tests/owners").string(), file});
    EXPECT_EQ(result.exit_code, 0) << result.all();
    return result.out;
  };
  EXPECT_EQ(owners(ls), "coreutils\n");
  EXPECT_EQ(owners((folder / "one").string()), "coreutils\n");
  // Those that it links, not those that its libraries link in turn (libselinux: libpcre2). In others releases differ.
  const std::string linked = owners((folder / "ours").string());
  const auto has = [&](const char* package) { return linked.find(package) != std::string::npos; };
  EXPECT_TRUE(has("libc6\n") && has("libselinux1\n")) << linked;
  EXPECT_FALSE(has("libpcre")) << linked;
}

}  // namespace
}  // namespace packhorse::test
