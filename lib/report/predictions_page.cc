#include "report/predictions_page.h"

#include <fmt/core.h>

#include "report/html.h"
#include "report/page.h"

namespace packhorse {
namespace {
constexpr int kThumbnailEdge = 200;  // short edge of an image on the page, in pixels
}

std::string predictions_page(const Predictions& predictions, const ClassTable& classes, const std::string& about,
                             const ReadPredicted& read) {
  std::vector<ImageCard> cards;
  for (size_t i = 0; i < predictions.list.size(); ++i) {
    const Prediction& prediction = predictions.list[i];
    ImageCard card;
    card.caption = prediction.path.filename().string();
    card.note = prediction.problem;
    if (card.note.empty()) {
      const std::vector<std::byte> file = read(i);
      card.image_url = image_url({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, kThumbnailEdge);
      card.note = fmt::format("{} x {}", prediction.width, prediction.height);
    }
    for (const ScoredClass& best : prediction.best) {
      card.bars.push_back({classes.short_name(best.label), best.probability, false});
    }
    cards.push_back(std::move(card));
  }
  return page_around("Packhorse: predictions",
                     "<h1>Predictions</h1>\n<p class=\"about\">" + escape_html(about) + "</p>\n" + image_cards(cards));
}

}  // namespace packhorse
