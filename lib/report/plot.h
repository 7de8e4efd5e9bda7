// Line plots as SVG, drawn by gnuplot.
//
// Rule: a plot is a text that can stand inside a page; texts on it are ours, numbers come from the journal. Long curves
// are thinned by averaging neighbours, so that a page stays small however long training took.
#pragma once

#include <string>
#include <vector>

namespace packhorse {

struct Curve {
  std::string title;
  std::vector<double> x, y;  ///< of equal length; points that are not finite are left out
  bool points = false;       ///< mark each point (few, far apart) instead of a line alone
  bool secondary = false;    ///< drawn lighter, behind
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Curve> curves;
  bool from_zero = false;  ///< the y axis begins at 0
  bool percent = false;    ///< y in percent
};

/// At most `most` points, each the mean of a run of neighbours; a run's first and last x bound it.
Curve thinned(const Curve& curve, size_t most);

/// An <svg> element for each plot; throws an Error where gnuplot is missing or fails. Plots without any point give an
/// empty text.
std::vector<std::string> draw_plots(const std::vector<Plot>& plots);

}  // namespace packhorse
