// Line plots as SVG, drawn by gnuplot.
//
// Rule: a plot is an SVG element that can be placed in a page. Its texts are literals of this program (they are not
// escaped), its numbers come from the journal. Long curves are thinned by averaging neighbours, so that the page stays
// small for any length of training.
#pragma once

#include <string>
#include <vector>

namespace packhorse {

struct Curve {
  std::string title;
  std::vector<double> x, y;  ///< of equal length; points that are not finite are skipped
  bool points = false;       ///< mark each point (for few points), not only the line
  bool secondary = false;    ///< drawn with a thinner line
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Curve> curves;
  bool from_zero = false;  ///< the y axis starts at 0
  bool percent = false;    ///< y is a fraction, shown in percent
};

/// Reduces the curve to at most `most` points, each the mean of a group of neighbours. Skips points that are not
/// finite.
Curve thinned(const Curve& curve, size_t most);

/// An <svg> element for each plot; an empty text for a plot without any point. Throws an Error if gnuplot is missing or
/// fails.
std::vector<std::string> draw_plots(const std::vector<Plot>& plots);

}  // namespace packhorse
