// The report: one self-contained HTML file, to keep, mail and print.
//
// It shows the learning curves, the accuracy by class set (next to the published figures of the reference run if the
// classes are the same), images with their predictions, the most confident errors, the classes with the lowest and the
// highest accuracy, the most confused classes, and the run's commands and settings.
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
  std::string about;               ///< one line below the title
  Facts facts;                     ///< of the run: stages, commands, hosts, versions
  Json settings = Json::object();  ///< of the training
  std::vector<Table> tables;       ///< of the journal
  std::optional<Evaluation> evaluation;
  std::filesystem::path evaluation_file;  ///< empty if there is none
};

/// The page as HTML. Throws if gnuplot is missing.
std::string report_page(const Report& report);

/// A whole page with `body` (HTML), a title and a style; it refers to no other file.
std::string page_around(const std::string& title, const std::string& body);

/// An image (a data URL, or empty), its caption, and a bar for each predicted class.
struct ImageCard {
  std::string image_url, caption, note;
  struct Bar {
    std::string name;
    double probability = 0;
    bool right = false;  ///< whether this class is the label
  };
  std::vector<Bar> bars;
};
std::string image_cards(const std::vector<ImageCard>& cards);

}  // namespace packhorse
