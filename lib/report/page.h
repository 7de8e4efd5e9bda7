// The report: one HTML file that needs nothing else, to be kept, mailed and printed.
//
// It shows what was run, the learning curves, the accuracy in each scope (beside the published figures of the reference
// run where the classes are its own), single images with what the network saw in them, and where it errs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "report/columns.h"
#include "results/evaluation.h"

namespace packhorse {

using Facts = std::vector<std::pair<std::string, std::string>>;

struct Report {
  std::string title;               ///< the data set's name
  std::string about;               ///< one line below it
  Facts facts;                     ///< what was run, where, by which version
  Json settings = Json::object();  ///< of training
  std::vector<Table> tables;       ///< of the journal
  std::optional<Evaluation> evaluation;
  std::filesystem::path evaluation_file;  ///< empty without one
};

/// The page's text; throws where gnuplot is missing.
std::string report_page(const Report& report);

/// A page around `body` (HTML): style, title, nothing from elsewhere.
std::string page_around(const std::string& title, const std::string& body);

/// An image (a data URL, or empty) with its caption and a bar for each class.
struct ImageCard {
  std::string image_url, caption, note;
  struct Bar {
    std::string name;
    double probability = 0;
    bool right = false;
  };
  std::vector<Bar> bars;
};
std::string image_cards(const std::vector<ImageCard>& cards);

}  // namespace packhorse
