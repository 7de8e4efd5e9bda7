#include "report/plot.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <filesystem>

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxPoints = 600;
constexpr int kWidth = 620, kHeight = 330;
constexpr std::array<const char*, 4> kColours{"#1f5fa8", "#c8601a", "#2e7d4f", "#7a4b9a"};

/// A temporary folder for gnuplot's input and output.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (fs::temp_directory_path() / "packhorse-plot-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw_errno("cannot create a temporary folder", name);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void run_gnuplot(const fs::path& folder, const fs::path& script) {
  std::string program = "gnuplot", file = script.string();
  std::array<char*, 3> arguments{program.data(), file.data(), nullptr};
  const std::string log = (folder / "log").string();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child = 0;
  const int code = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (code != 0) {
    throw Error({"cannot start gnuplot, which draws the curves", "gnuplot",
                 "install the Debian package gnuplot-nox (`make deps` does)"});
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("cannot wait for gnuplot", "");
  }
  if (status != 0) {
    const std::string output = read_text(log);
    throw Error({"gnuplot cannot draw the curves", output.substr(0, 500), ""});
  }
}

bool finite(const Curve& curve, size_t i) { return std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]); }

bool has_points(const Plot& plot) {
  return std::any_of(plot.curves.begin(), plot.curves.end(), [](const Curve& curve) {
    for (size_t i = 0; i < curve.x.size(); ++i) {
      if (finite(curve, i)) return true;
    }
    return false;
  });
}

/// A text between single quotes, as gnuplot reads it.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("''") : std::string(1, c == '\n' ? ' ' : c);
  return result + "'";
}

/// The script for one plot, with its data.
std::string script_of(const Plot& plot, const std::string& name, const fs::path& output) {
  std::string script = fmt::format(
      "reset\nset terminal svg size {},{} dynamic font 'sans-serif,13' noenhanced name {}\nset output {}\n"
      "set title {} textcolor '#222222'\nset xlabel {} offset 0,0.4 textcolor '#555555'\nset ylabel {} textcolor "
      "'#555555'\n"
      "set border 3 linecolor '#999999'\nset tics nomirror textcolor '#555555'\nset grid ytics linecolor '#e4e4e4'\n"
      "set key below center horizontal noopaque samplen 1.5 textcolor '#333333'\nset format x '%.10g'\n",
      kWidth, kHeight, quoted(name), quoted(output.string()), quoted(plot.title), quoted(plot.x_label),
      quoted(plot.y_label));
  if (plot.from_zero) script += "set yrange [0:*]\n";
  if (plot.percent) script += "set format y '%g %%'\nset yrange [0:100]\n";
  // A curve with one point, or with equal values, has no range of its own: offsets give it one.
  script += "set autoscale xfix\nset offsets graph 0.02, graph 0.02, 0, 0\n";
  std::vector<std::string> uses;
  for (size_t c = 0; c < plot.curves.size(); ++c) {
    const Curve curve = thinned(plot.curves[c], kMaxPoints);
    std::string rows;
    for (size_t i = 0; i < curve.x.size(); ++i) {
      if (finite(curve, i)) rows += fmt::format("{:.17g} {:.9g}\n", curve.x[i], curve.y[i] * (plot.percent ? 100 : 1));
    }
    if (rows.empty()) continue;
    script += fmt::format("$curve{} << END\n{}END\n", c, rows);
    const bool dots = curve.points || std::count(rows.begin(), rows.end(), '\n') < 3;
    uses.push_back(fmt::format("$curve{} using 1:2 with {} linecolor '{}' linewidth {} title {}", c,
                               dots ? "linespoints pointtype 7 pointsize 0.5" : "lines", kColours[c % kColours.size()],
                               curve.secondary ? "1" : "1.8", quoted(curve.title)));
  }
  return script + "plot " + joined(uses) + "\nunset output\n";
}

/// The <svg> element only: the XML declaration before it is not allowed inside a page.
std::string element_of(const fs::path& file) {
  const std::string text = read_text(file);
  const size_t begin = text.find("<svg");
  if (begin == std::string::npos) throw Error({"gnuplot did not write an SVG", file.string(), ""});
  return text.substr(begin);
}

}  // namespace

Curve thinned(const Curve& curve, size_t most) {
  Curve kept;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    if (!finite(curve, i)) continue;
    kept.x.push_back(curve.x[i]);
    kept.y.push_back(curve.y[i]);
  }
  Curve thin = curve;
  if (kept.x.size() <= most) {
    thin.x = kept.x;
    thin.y = kept.y;
    return thin;
  }
  thin.x.clear();
  thin.y.clear();
  for (size_t point = 0; point < most; ++point) {
    const size_t begin = point * kept.x.size() / most, end = (point + 1) * kept.x.size() / most;
    double x = 0, y = 0;
    for (size_t i = begin; i < end; ++i) {
      x += kept.x[i];
      y += kept.y[i];
    }
    thin.x.push_back(x / static_cast<double>(end - begin));
    thin.y.push_back(y / static_cast<double>(end - begin));
  }
  return thin;
}

std::vector<std::string> draw_plots(const std::vector<Plot>& plots) {
  const ScratchFolder folder;
  std::string script;
  for (size_t i = 0; i < plots.size(); ++i) {
    if (!has_points(plots[i])) continue;
    script += script_of(plots[i], "plot" + std::to_string(i), folder.path() / (std::to_string(i) + ".svg"));
  }
  std::vector<std::string> elements(plots.size());
  if (script.empty()) return elements;
  write_text(folder.path() / "script", script);
  run_gnuplot(folder.path(), folder.path() / "script");
  for (size_t i = 0; i < plots.size(); ++i) {
    if (has_points(plots[i])) elements[i] = element_of(folder.path() / (std::to_string(i) + ".svg"));
  }
  return elements;
}

}  // namespace packhorse
